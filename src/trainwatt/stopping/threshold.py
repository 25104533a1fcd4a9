"""Smallest gain per energy for which a run continues."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from trainwatt.errors import ArgumentError

Mode = Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Smallest gain that is worth the energy it takes. With neither field set, the rule only observes.

    Args:
        min_gain_per_kwh: metric units per kWh.
        min_gain_per_percent: metric units per 1 % of the planned run's energy.

    Raises:
        ArgumentError: a value is not a positive number, or both are given.
    """

    min_gain_per_kwh: float | None = None
    min_gain_per_percent: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_gain_per_kwh", "min_gain_per_percent"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ArgumentError(name, value, "a positive number, or None")
        if self.min_gain_per_kwh is not None and self.min_gain_per_percent is not None:
            expected = "None, because min_gain_per_kwh is given"
            raise ArgumentError("min_gain_per_percent", self.min_gain_per_percent, expected)

    @property
    def is_set(self) -> bool:
        """True if one of the two fields is set."""
        return self.min_gain_per_kwh is not None or self.min_gain_per_percent is not None

    def per_kwh(self, planned_kwh: float) -> float | None:
        """Return the threshold in metric units per kWh; None if no threshold is set.

        Args:
            planned_kwh: energy of the whole run.
        """
        if self.min_gain_per_percent is not None:
            return self.min_gain_per_percent * 100 / planned_kwh
        return self.min_gain_per_kwh
