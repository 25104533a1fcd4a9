"""Embodied emissions and power limits of hardware."""

from __future__ import annotations

import difflib
import math
import re
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
    """Devices of one model that a run holds, and their service life.

    Attributes:
        device: embodied emissions of one device, kgCO2e; see :func:`embodied_factor`.
        count: number of devices; a fraction of one if it is shared, as a slice of a GPU is.
        chassis: embodied emissions of the server around eight of them, kgCO2e; None leaves it out.
        lifetime_years: years of service before replacement.
        utilisation: part of that time in which they work, above 0 and up to 1.

    Raises:
        ArgumentError: if count, lifetime or utilisation is out of range.
    """

    device: Factor
    count: float = 1
    chassis: Factor | None = None
    lifetime_years: float = 5.0
    utilisation: float = 0.85

    def __post_init__(self) -> None:
        if not 0 < self.count < math.inf:
            raise ArgumentError("count", self.count, "a number above 0")
        if not 0 < self.lifetime_years < math.inf:
            raise ArgumentError("lifetime_years", self.lifetime_years, "a positive number of years")
        if not 0 < self.utilisation <= 1:
            raise ArgumentError("utilisation", self.utilisation, "a number above 0 and up to 1")

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Factors behind it."""
        return (self.device, self.chassis) if self.chassis else (self.device,)


def hardware_of(devices: Iterable[tuple[str, float]]) -> tuple[Hardware, ...]:
    """Return the devices of a run, without those of unknown models.

    Args:
        devices: model of each device, as reported by its driver, and the part of it that the run holds, 0 to 1.
    """
    counts: dict[str, float] = {}
    for model, part in devices:
        counts[model] = counts.get(model, 0) + part
    known = ((embodied_factor(model), count) for model, count in counts.items())
    return tuple(Hardware(factor, count) for factor, count in known if factor is not None)


@cache
def embodied_factor(model: str) -> Factor | None:
    """Return the embodied emissions of a GPU or machine in kgCO2e; None if the model is unknown.

    Args:
        model: as reported by the driver, e.g. ``NVIDIA H100 80GB HBM3``, or as written in the table.

    Returns:
        A factor whose range spans all sources, which differ by up to a factor of six.
    """
    core, words = _core(model), _words(model)
    rows = [row for row in tables.rows("hardware_embodied.csv") if _core(row["model"]) == core]
    if not rows:
        return None
    row = max(rows, key=lambda row: len(words & _words(row["model"])))
    low, value, high = (float(row[column]) for column in ("kgco2e_low", "kgco2e", "kgco2e_high"))
    name = f"embodied emissions of {row['model']}"
    return Factor(name, value, low, high, "kgCO2e", row["source"], basis=row["boundary"], note=row["quality"])


def board_power(model: str) -> Factor:
    """Return the power limit of a GPU in watts; the range spans all variants that the name may mean.

    Args:
        model: e.g. ``H100``, ``A100 PCIe`` or ``RTX 4090``.

    Raises:
        ArgumentError: if the model is unknown; the message suggests similar known ones.
    """
    core, words, rows = _core(model), _words(model), tables.rows("gpu_power.csv")
    same = [row for row in rows if _core(row["model"]) == core]
    if not core or not same:
        names = {row["model"].partition(" ")[2] for row in rows}
        near = sorted(name for name in names if core & _core(name)) or difflib.get_close_matches(model, names, 3, 0.5)
        known = f"; did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""
        raise ArgumentError("gpu", model, f"a GPU with a known power limit, such as 'H100' or 'RTX 4090'{known}")
    fit = max(len(words & _words(row["model"])) for row in same)
    meant = [row for row in same if len(words & _words(row["model"])) == fit]
    watts = [float(row["watts"]) for row in meant]
    note = f"it may also be {', '.join(row['model'] for row in meant[1:])}" if len(meant) > 1 else ""
    first = meant[0]
    name = f"power limit of {first['model']}"
    return Factor(name, watts[0], min(watts), max(watts), "W", first["source"], note=note)


def _words(model: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", model.upper()))


def _core(model: str) -> frozenset[str]:
    """Return the words that identify a model: its name without maker, form factor and memory."""
    return frozenset(word for word in _words(model) - _MAKERS if not _FORM_OR_MEMORY.fullmatch(word))
