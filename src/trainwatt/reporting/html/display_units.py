"""Units for display, and thinning of data for charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trainwatt import formatting
from trainwatt.formatting import duration_text, figures
from trainwatt.quantity import Quantity
from trainwatt.units import G_PER_KG, S_PER_H

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unit:
    """Unit for display.

    Attributes:
        name: e.g. ``Wh``.
        per_base: number of these units in the base unit: one kWh, kg, litre or second.
    """

    name: str
    per_base: float

    def of(self, value: float) -> float:
        """Convert a value from the base unit, rounded to six significant digits."""
        return float(f"{value * self.per_base:.6g}")


def energy_unit(most_kwh: float) -> Unit:
    """Select the unit for energies up to ``most_kwh``, as :func:`trainwatt.formatting.energy_text` does."""
    factor, name = formatting.energy_unit(most_kwh)
    return Unit(name, factor)


def mass_unit(most_kg: float) -> Unit:
    """Select the unit for masses up to ``most_kg``."""
    return _unit(most_kg, (("kg", 1.0), ("g", G_PER_KG), ("mg", G_PER_KG * 1e3), ("µg", G_PER_KG * 1e6)))


def volume_unit(most_l: float) -> Unit:
    """Select the unit for volumes up to ``most_l`` litres."""
    return _unit(most_l, (("L", 1.0), ("mL", 1e3), ("µL", 1e6)))


def _unit(most: float, units: Sequence[tuple[str, float]]) -> Unit:
    """Select the largest unit in which the value is at least 1, else the smallest unit."""
    return Unit(*next((each for each in units if most * each[1] >= 1), units[-1]))


def shown(quantity: Quantity, unit: Unit) -> tuple[str, str]:
    """Format a quantity and its range with two significant digits.

    Args:
        quantity: in the base unit: kWh, kg or litres.
        unit: to show it in.

    Returns:
        The central value with its unit, and the range.
    """
    ends = (quantity.low, quantity.central, quantity.high)
    low, central, high = (figures(value * unit.per_base, 2) for value in ends)
    return f"{central} {unit.name}", f"{low} to {high}"


def money(cost: Quantity, currency: str) -> tuple[str, str]:
    """Format a cost and its range. Below 0.01 of the currency only that bound is given."""
    if cost.central < 0.005:
        return f"< 0.01 {currency}".strip(), ""
    return shown(cost, Unit(currency, 1.0))


def brief_text(seconds: float) -> str:
    """Format a duration, in milliseconds if it is below a second."""
    return f"{figures(seconds * 1e3, 2)} ms" if 0 < seconds < 0.95 else duration_text(seconds)


def time_unit(most_s: float) -> Unit:
    """Select the unit for durations up to ``most_s`` seconds."""
    if most_s < 180:
        return Unit("s", 1.0)
    if most_s < 3 * S_PER_H:
        return Unit("min", 1 / 60)
    return Unit("h", 1 / S_PER_H) if most_s < 96 * S_PER_H else Unit("days", 1 / (24 * S_PER_H))


def thinned(values: Array, most: int) -> npt.NDArray[np.intp]:
    """Select rows to draw: the first, the last, and the minimum and maximum of each interval between them.

    Args:
        values: the drawn values, in order.
        most: approximate maximum number of rows.

    Returns:
        Sorted indices of the selected rows.
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2 + 1).astype(int)
    parts = [(start, values[start:end]) for start, end in pairwise(edges)]
    kept = {0, len(values) - 1}
    for start, part in parts:
        kept |= {start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(kept))
