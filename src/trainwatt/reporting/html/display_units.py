"""Units that read well, and rows few enough for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trainwatt.formatting import duration_text, figures
from trainwatt.quantity import Quantity
from trainwatt.units import G_PER_KG, J_PER_KWH, S_PER_H, WH_PER_KWH

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit to show figures in.

    Attributes:
        name: e.g. ``Wh``.
        per_base: how many of it are one kWh, one kg or one second.
    """

    name: str
    per_base: float

    def of(self, value: float) -> float:
        """A figure in this unit, with six significant figures."""
        return float(f"{value * self.per_base:.6g}")


def energy_unit(most_kwh: float) -> Unit:
    """For energies up to so many kWh: the same borders as in :func:`trainwatt.formatting.energy_text`."""
    if most_kwh * WH_PER_KWH < 0.1:
        return Unit("J", J_PER_KWH)
    return Unit("Wh", WH_PER_KWH) if most_kwh < 1 else Unit("kWh", 1.0)


def mass_unit(most_kg: float) -> Unit:
    """For masses up to so many kg."""
    return _unit(most_kg, (("kg", 1.0), ("g", G_PER_KG), ("mg", G_PER_KG * 1e3), ("µg", G_PER_KG * 1e6)))


def volume_unit(most_l: float) -> Unit:
    """For volumes up to so many litres."""
    return _unit(most_l, (("L", 1.0), ("mL", 1e3), ("µL", 1e6)))


def _unit(most: float, units: Sequence[tuple[str, float]]) -> Unit:
    """The largest unit of which there is one, the smallest where there is none."""
    return Unit(*next((each for each in units if most * each[1] >= 1), units[-1]))


def shown(quantity: Quantity, unit: Unit) -> tuple[str, str]:
    """A figure, and its range, with two significant figures, as people read them.

    Args:
        quantity: in kWh, kg or litres.
        unit: to show it in.
    """
    ends = (quantity.low, quantity.central, quantity.high)
    low, central, high = (figures(value * unit.per_base, 2) for value in ends)
    return f"{central} {unit.name}", f"{low} to {high}"


def money(cost: Quantity, currency: str) -> tuple[str, str]:
    """A cost, and its range; below a hundredth of a currency's unit there is nothing to be read."""
    if cost.central < 0.005:
        return f"< 0.01 {currency}".strip(), ""
    return shown(cost, Unit(currency, 1.0))


def brief_text(seconds: float) -> str:
    """A duration, in milliseconds below a second."""
    return f"{figures(seconds * 1e3, 2)} ms" if 0 < seconds < 0.95 else duration_text(seconds)


def time_unit(most_s: float) -> Unit:
    """For durations up to so many seconds."""
    if most_s < 180:
        return Unit("s", 1.0)
    if most_s < 3 * S_PER_H:
        return Unit("min", 1 / 60)
    return Unit("h", 1 / S_PER_H) if most_s < 96 * S_PER_H else Unit("days", 1 / (24 * S_PER_H))


def thinned(values: Array, most: int) -> npt.NDArray[np.intp]:
    """Which of many rows to draw: of each stretch of them the least and the greatest, besides the first and the last.

    Args:
        values: what is drawn, in its order.
        most: how many may be drawn, about.
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2 + 1).astype(int)
    parts = [(start, values[start:end]) for start, end in pairwise(edges)]
    kept = {0, len(values) - 1}
    for start, part in parts:
        kept |= {start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(kept))
