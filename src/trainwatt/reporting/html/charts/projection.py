"""Chart of the projected energy over time, against the actual energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainwatt.reporting.html.charts.base import (
    ACCENT,
    INK,
    MUTED,
    Spec,
    at_top,
    labelled_rule,
    mark,
    number,
    spec,
    tooltip,
)
from trainwatt.reporting.html.display_units import energy_unit, thinned

HEIGHT = 240
_MOST = 300


def projection(events: Sequence[Mapping[str, Any]], total_kwh: float, label: str, stopped_at: str = "") -> Spec:
    """Draw the projection as a line, its interval as a band and the actual energy as a horizontal line.

    Args:
        events: the projections, oldest first.
        total_kwh: actual energy of the run.
        label: of the actual energy.
        stopped_at: label of an early stop, e.g. ``stopped at epoch 8``; empty if there was none.
    """
    kept = thinned(np.array([event["total_kwh"]["high"] for event in events]), _MOST)
    unit = energy_unit(max(total_kwh, *(events[each]["total_kwh"]["central"] for each in kept)))
    by = "epochs" if events[-1]["epochs"] > 1 else "steps"
    rows = [
        {"done": events[each][by], **{key: unit.of(value) for key, value in events[each]["total_kwh"].items()}}
        for each in kept
    ]
    along = number("done", f"completed {by}", axis={"tickMinStep": 1}, scale={"zero": False, "nice": False})
    up = at_top(unit.name)
    shown = tooltip(completed="done", low="low", projected="central", high="high")
    band = {
        "mark": mark("area", color=ACCENT, opacity=0.22),
        "encoding": {"x": along, "y": number("low", axis=up, scale={"zero": True}), "y2": {"field": "high"}},
    }
    line = {
        "mark": mark(
            "line", color=ACCENT, strokeWidth=2, point={"size": 36, "color": ACCENT} if len(rows) < 60 else False
        ),
        "encoding": {"x": along, "y": number("central", axis=up), "tooltip": shown},
    }
    across = {
        "data": {"values": [{"took": unit.of(total_kwh), "label": label}]},
        "encoding": {"y": number("took", axis=up)},
        "layer": [
            {"mark": mark("rule", color=INK, strokeWidth=1.5)},
            {
                "mark": mark("text", align="left", dx=6, baseline="bottom", dy=-4, color=INK, fontWeight=600),
                "encoding": {"x": {"value": 0}, "text": {"field": "label"}},
            },
        ],
    }
    stopped = labelled_rule(rows[-1]["done"], stopped_at, color=MUTED) if stopped_at else []
    return spec(rows, HEIGHT, band, line, across, *stopped)
