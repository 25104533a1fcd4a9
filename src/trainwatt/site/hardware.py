"""What making the hardware emitted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from trainwatt.errors import ArgumentError
from trainwatt.site import tables
from trainwatt.site.factor import Factor

GPUS_PER_CHASSIS = 8

_MAKERS = frozenset({"NVIDIA", "AMD", "TESLA", "GEFORCE", "QUADRO", "RADEON", "INSTINCT"})
_FORM_OR_MEMORY = re.compile(r"SXM\d?|PCIE|NVL|HBM\w*|\d+GB")


@dataclass(frozen=True, slots=True)
class Hardware:
    """Devices of one kind that a run holds, and how long such devices serve.

    Attributes:
        device: embodied emissions of one device, kgCO2e; see :func:`embodied_factor`.
        count: how many.
        chassis: embodied emissions of the server around eight of them, kgCO2e; None to leave it out.
        lifetime_years: years that they serve before they are replaced.
        utilisation: the part of that time that they work, above 0 and up to 1.

    Raises:
        ArgumentError: a count, lifetime or utilisation out of its range.
    """

    device: Factor
    count: int = 1
    chassis: Factor | None = None
    lifetime_years: float = 5.0
    utilisation: float = 0.85

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ArgumentError("count", self.count, "at least 1")
        if not 0 < self.lifetime_years < math.inf:
            raise ArgumentError("lifetime_years", self.lifetime_years, "a positive number of years")
        if not 0 < self.utilisation <= 1:
            raise ArgumentError("utilisation", self.utilisation, "a number above 0 and up to 1")

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The figures behind it."""
        return (self.device, self.chassis) if self.chassis else (self.device,)


def hardware_of(models: Iterable[str]) -> tuple[Hardware, ...]:
    """The devices of a run, of which those are left out that nothing is known of.

    Args:
        models: one for each device, as its driver tells it.
    """
    known = ((embodied_factor(model), count) for model, count in Counter(models).items())
    return tuple(Hardware(factor, count) for factor, count in known if factor is not None)


@cache
def embodied_factor(model: str) -> Factor | None:
    """Embodied emissions of a GPU or a machine by its model, in kgCO2e; None where the model is not known.

    Args:
        model: as the driver tells it, such as ``NVIDIA H100 80GB HBM3``, or as the table does.

    Returns:
        A figure whose range spans what sources tell, as much as a factor of six apart.
    """
    core, words = _core(model), _words(model)
    rows = [row for row in tables.rows("hardware_embodied.csv") if _core(row["model"]) == core]
    if not rows:
        return None
    row = max(rows, key=lambda row: len(words & _words(row["model"])))
    low, value, high = (float(row[column]) for column in ("kgco2e_low", "kgco2e", "kgco2e_high"))
    name = f"embodied emissions of {row['model']}"
    return Factor(name, value, low, high, "kgCO2e", row["source"], basis=row["boundary"], note=row["quality"])


def _words(model: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", model.upper()))


def _core(model: str) -> frozenset[str]:
    """What tells a model from all others: its name without maker, form factor and memory."""
    return frozenset(word for word in _words(model) - _MAKERS if not _FORM_OR_MEMORY.fullmatch(word))
