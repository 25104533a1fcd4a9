"""Building blocks shared by all charts.

Colours are CSS custom properties of the page, so that one chart works in light mode, dark mode and print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]

INK, MUTED, LINE = "var(--ink)", "var(--muted)", "var(--line)"
ACCENT, GOOD, WARN = "var(--accent)", "var(--good)", "var(--warn)"
SERIES = tuple(f"var(--series-{number})" for number in range(1, 7))
BACKGROUND = "var(--card)"

_TEXT = {"labelColor": MUTED, "titleColor": MUTED, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500}
_CONFIG: Spec = {
    # The page provides the text alternative of each chart.
    "aria": False,
    "mark": {"aria": False},
    "background": None,
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "aria": False,
        "domainColor": LINE,
        "gridColor": LINE,
        "tickColor": LINE,
        "labelPadding": 6,
        "titlePadding": 10,
        "labelOverlap": "greedy",
        "labelSeparation": 6,
    },
    "axisX": {"grid": False, "tickCount": {"expr": "max(3, width / 90)"}, "labelFlush": True},
    "axisY": {"domain": False, "ticks": False, "titleAnchor": "end", "tickCount": 5},
    "legend": {
        "aria": False,
        "orient": "bottom",
        "direction": "horizontal",
        "columns": {"expr": "max(1, floor(width / 170))"},
        "title": None,
        "labelColor": MUTED,
        "labelFontSize": 12,
        "labelLimit": 220,
        "symbolType": "square",
        "symbolStrokeWidth": 0,
        "offset": 10,
    },
    "text": {"color": INK, "fontSize": 12},
    "rule": {"color": MUTED},
    "line": {"strokeJoin": "round", "strokeCap": "round"},
}


def spec(values: Sequence[Mapping[str, Any]], height: int, *layers: Spec, **more: Any) -> Spec:
    """Build a chart as wide as its container.

    Args:
        values: rows of data for the layers.
        height: in pixels.
        layers: in drawing order.
        more: other parts of the specification.
    """
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(values)},
        "layer": list(layers),
        "config": _CONFIG,
        **more,
    }


def number(field: str, title: str | None = None, **more: Any) -> Spec:
    """Encode a quantitative field."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def at_top(title: str) -> Spec:
    """Place the title of the y axis horizontally above it."""
    return {"title": title, "titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": 0, "titleY": -12}


def tooltip(**fields: str) -> list[Spec]:
    """Build a tooltip from fields by title."""
    return [
        {"field": field, "title": title.replace("_", " "), "format": ".4~g", "type": "quantitative"}
        for title, field in fields.items()
    ]


def mark(kind: str, **properties: Any) -> Spec:
    """Build a mark with its properties."""
    return {"type": kind, **properties}


def log_ticks(least: float, most: float) -> list[float]:
    """Return the ticks of a logarithmic axis: 1 and 3 times each power of ten."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in (1, 3)]
    return [tick for tick in ticks if least <= tick <= most]


def labelled_rule(x: float, label: str, *, color: str = WARN, at: float = 0) -> list[Spec]:
    """Build a vertical line with a label to its left.

    Args:
        x: position of the line.
        label: text of the label.
        color: of the line and the label.
        at: distance of the label from the top, in pixels.
    """
    data = {"values": [{"x": x, "label": label}]}
    where = {"x": {"field": "x", "type": "quantitative"}}
    return [
        {"data": data, "mark": mark("rule", color=color, strokeWidth=1.5, strokeDash=[5, 3]), "encoding": where},
        {
            "data": data,
            "mark": mark("text", align="right", baseline="top", dx=-6, color=color, fontWeight=600),
            "encoding": {**where, "y": {"value": at}, "text": {"field": "label"}},
        },
    ]
