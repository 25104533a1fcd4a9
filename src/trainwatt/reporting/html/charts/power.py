"""Chart of power over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainwatt.accounting.timeline import PHASES, Phase
from trainwatt.reporting.html.charts.base import INK, Spec, at_top, mark, number, spec
from trainwatt.reporting.html.display_units import time_unit
from trainwatt.reporting.html.run_history import Slice

HEIGHT = 240


def colour(phase: Phase) -> str:
    """Return the colour of a phase."""
    return f"var(--{phase.replace('_', '-')})"


def phase_text(phase: str) -> str:
    """Return the display name of a phase."""
    return phase.replace("_", " ")


def power(slices: Sequence[Slice]) -> Spec:
    """Draw power as a line, with the area below it coloured by phase."""
    unit = time_unit(slices[-1].to_s)
    rows: list[dict[str, Any]] = [
        {
            "from": unit.of(each.from_s),
            "to": unit.of(each.to_s),
            "watts": round(each.watts, 2),
            "phase": phase_text(each.phase),
        }
        for each in slices
    ]
    seen = [phase for phase in PHASES if any(each.phase == phase for each in slices)]
    along = number("from", f"time, {unit.name}", scale={"domain": [0, rows[-1]["to"]], "nice": False})
    colours = {"domain": [phase_text(phase) for phase in seen], "range": [colour(phase) for phase in seen]}
    shown = [
        {"field": "phase", "title": "phase"},
        {"field": "watts", "title": "power, W", "format": ".3~g"},
        {"field": "from", "title": f"from, {unit.name}", "format": ".4~g"},
        {"field": "to", "title": f"to, {unit.name}", "format": ".4~g"},
    ]
    bands = {
        "mark": mark("rect", opacity=0.55, strokeWidth=0),
        "encoding": {
            "x": along,
            "x2": {"field": "to"},
            "y": number("watts", axis=at_top("W"), scale={"domainMin": 0}),
            "y2": {"datum": 0},
            "color": {"field": "phase", "scale": colours},
            "tooltip": shown,
        },
    }
    line = {
        "mark": mark("line", interpolate="step-after", color=INK, strokeWidth=1.2),
        "encoding": {"x": along, "y": number("watts", axis=at_top("W"))},
    }
    return spec(rows, HEIGHT, bands, line)
