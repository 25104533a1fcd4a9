"""Chart of the emissions of the same run on other grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainwatt.quantity import Quantity
from trainwatt.reporting.html.charts.base import ACCENT, INK, MUTED, Spec, log_ticks, mark, number, spec
from trainwatt.reporting.html.display_units import mass_unit

_ROW = 24


def regions(places: Sequence[tuple[str, Quantity]], own: str) -> Spec:
    """Draw a point with its range for each grid.

    Args:
        places: name and kgCO2e of each grid, in display order.
        own: name of the grid on which it ran.
    """
    unit = mass_unit(max(kg.central for _, kg in places))
    rows: list[dict[str, Any]] = [
        {
            "place": name,
            "low": unit.of(max(kg.low, kg.central / 1000)),
            "central": unit.of(kg.central),
            "high": unit.of(kg.high),
            "own": name == own,
        }
        for name, kg in places
    ]
    order = [name for name, _ in places]
    names = {
        "field": "place",
        "type": "nominal",
        "sort": order,
        "axis": {
            "title": None,
            "labelLimit": 150,
            "labelFontWeight": {"condition": {"test": f"datum.value === {own!r}", "value": 700}, "value": 400},
            "labelColor": {"condition": {"test": f"datum.value === {own!r}", "value": INK}, "value": MUTED},
        },
    }
    shown = [
        {"field": "place"},
        {"field": "central", "title": f"CO₂e, {unit.name}", "format": ".2~g"},
        {"field": "low", "format": ".2~g"},
        {"field": "high", "format": ".2~g"},
    ]
    colour = {"condition": {"test": "datum.own", "value": ACCENT}, "value": MUTED}
    least, most = min(row["low"] for row in rows), max(row["high"] for row in rows)
    scale = {"type": "log", "domain": [least * 0.8, most * 1.2], "nice": False}
    axis = {"grid": True, "domain": False, "values": log_ticks(least * 0.8, most * 1.2)}
    along = number("low", f"{unit.name} CO₂e", axis=axis, scale=scale)
    ranges = {
        "mark": mark("rule", strokeWidth=5, opacity=0.35, strokeCap="round"),
        "encoding": {"y": names, "x": along, "x2": {"field": "high"}, "color": colour, "tooltip": shown},
    }
    points = {
        "mark": mark("point", filled=True, size=80, opacity=1),
        "encoding": {"y": names, "x": along | {"field": "central"}, "color": colour, "tooltip": shown},
    }
    return spec(rows, height(places), ranges, points)


def height(places: Sequence[object]) -> int:
    """Return the height of the chart in pixels."""
    return _ROW * len(places)
