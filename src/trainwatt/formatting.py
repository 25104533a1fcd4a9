"""Human-readable figures and plain-text tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from trainwatt.escaping.printable import printable
from trainwatt.quantity import Quantity
from trainwatt.units import G_PER_KG, J_PER_KWH, S_PER_H, WH_PER_KWH

_GAP = "  "

# Least value in kWh or kg, factor to the unit, unit.
_ENERGIES = ((1.0, 1.0, "kWh"), (1e-4, WH_PER_KWH, "Wh"))
_MASSES = ((1.0, 1.0, "kg"), (1e-5, G_PER_KG, "g"))


def energy_unit(kwh: float) -> tuple[float, str]:
    """Return the unit in which an energy reads best: J below 0.1 Wh, Wh below 1 kWh, else kWh.

    Args:
        kwh: the energy, or the largest of several that share the unit.

    Returns:
        The factor from kWh to the unit, and the unit.
    """
    return next(((factor, unit) for least_kwh, factor, unit in _ENERGIES if kwh >= least_kwh), (J_PER_KWH, "J"))


def energy_text(kwh: float) -> str:
    """Format an energy in the unit that reads best, with three significant figures."""
    factor, unit = energy_unit(kwh)
    return f"{figures(kwh * factor)} {unit}"


def energy_range_text(kwh: Quantity) -> str:
    """Format an energy and its range in one unit."""
    factor, unit = energy_unit(kwh.central)
    return f"{figures(kwh.central * factor)} {unit} ({figures(kwh.low * factor, 2)} to {figures(kwh.high * factor, 2)})"


def mass_range_text(kg: Quantity) -> str:
    """Format a mass and its range in one unit, with two significant figures."""
    factor, unit = _mass_unit(kg.central)
    return f"{figures(kg.central * factor, 2)} {unit} ({figures(kg.low * factor, 2)} to {figures(kg.high * factor, 2)})"


def mass_text(kg: float) -> str:
    """Format a mass in the unit that reads best, with two significant figures."""
    factor, unit = _mass_unit(kg)
    return f"{figures(kg * factor, 2)} {unit}"


def _mass_unit(kg: float) -> tuple[float, str]:
    """Return the factor from kilograms to the unit that reads best, and the unit."""
    return next(
        ((factor, unit) for least_kg, factor, unit in _MASSES if kg >= least_kg), (1e6, "mg") if kg else (G_PER_KG, "g")
    )


def duration_text(seconds: float) -> str:
    """Format a duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < S_PER_H:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // S_PER_H:.0f} h {seconds % S_PER_H // 60:.0f} min"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Align columns at their widest cell: the first and last to the left, the others to the right."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        inner = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append(_GAP.join([row[0].ljust(widths[0]), *inner, row[-1]]).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def figures(value: float, digits: int = 3) -> str:
    """Format a number with a given number of significant figures and no exponent."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "unlimited" if value > 0 else "unknown"
    value = float(f"{value:.{digits}g}")
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, decimals)}f}"
