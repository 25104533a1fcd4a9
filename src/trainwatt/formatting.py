"""Figures as a person reads them, and a table of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from trainwatt.quantity import Quantity
from trainwatt.units import G_PER_KG, J_PER_KWH, J_PER_WH, S_PER_H, WH_PER_KWH, j_from_kwh

_GAP = "  "
_MASSES = ((1.0, 1.0, "kg"), (1e-5, G_PER_KG, "g"))  # from so many kg on


def energy_text(kwh: float) -> str:
    """Energy in the unit that reads best, with three significant figures."""
    joules = j_from_kwh(kwh)
    if joules < J_PER_WH / 10:
        return f"{figures(joules)} J"
    if joules < J_PER_KWH:
        return f"{figures(joules / J_PER_WH)} Wh"
    return f"{figures(kwh)} kWh"


def energy_range_text(kwh: Quantity) -> str:
    """Energy with its range, in one unit."""
    factor, unit = (WH_PER_KWH, "Wh") if kwh.central < 1 else (1.0, "kWh")
    if kwh.central * WH_PER_KWH < 0.1:
        factor, unit = J_PER_KWH, "J"
    return f"{figures(kwh.central * factor)} {unit} ({figures(kwh.low * factor, 2)} to {figures(kwh.high * factor, 2)})"


def mass_range_text(kg: Quantity) -> str:
    """A mass with its range, in one unit, with two significant figures."""
    factor, unit = _mass_unit(kg.central)
    return f"{figures(kg.central * factor, 2)} {unit} ({figures(kg.low * factor, 2)} to {figures(kg.high * factor, 2)})"


def mass_text(kg: float) -> str:
    """A mass in the unit that reads best, with two significant figures."""
    factor, unit = _mass_unit(kg)
    return f"{figures(kg * factor, 2)} {unit}"


def _mass_unit(kg: float) -> tuple[float, str]:
    """What to multiply kilograms by, and what that is then."""
    return next(
        ((factor, unit) for least_kg, factor, unit in _MASSES if kg >= least_kg), (1e6, "mg") if kg else (G_PER_KG, "g")
    )


def duration_text(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < S_PER_H:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // S_PER_H:.0f} h {seconds % S_PER_H // 60:.0f} min"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell: the first and the last to the left, the rest to the right."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        inner = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append(_GAP.join([row[0].ljust(widths[0]), *inner, row[-1]]).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def figures(value: float, digits: int = 3) -> str:
    """A number with so many significant figures and no exponent."""
    if value == 0:
        return "0"
    value = float(f"{value:.{digits}g}")
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, decimals)}f}"
