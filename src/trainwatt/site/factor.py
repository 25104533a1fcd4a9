"""One figure that turns energy into something else, with where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Factor:
    """A figure with its range and its source.

    Attributes:
        value: the figure.
        low, high: its range, ``low <= value <= high``.
        unit: e.g. ``gCO2e/kWh``.
        source: who published it, or ``given`` by the user.
        year: the year or period that it holds for; empty where that does not apply.
        basis: what it counts, e.g. ``lifecycle, production``.
    """

    value: float
    low: float
    high: float
    unit: str
    source: str
    year: str = ""
    basis: str = ""

    @classmethod
    def given(cls, value: float, unit: str) -> Factor:
        """The user's own figure: taken as exact."""
        return cls(value, value, value, unit, "given")

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        return asdict(self)
