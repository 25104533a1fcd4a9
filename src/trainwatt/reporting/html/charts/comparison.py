"""Chart of several runs: metric against energy."""

from __future__ import annotations

from collections.abc import Sequence

from trainwatt.reporting.html.charts.base import ACCENT, BACKGROUND, MUTED, Spec, at_top, mark, spec
from trainwatt.reporting.html.charts.base import number as quantity
from trainwatt.reporting.html.display_units import energy_unit
from trainwatt.reporting.html.pareto import Standing

HEIGHT = 340


def comparison(standings: Sequence[Standing], metric: str) -> Spec:
    """Draw a numbered point for each run, and the Pareto front."""
    unit = energy_unit(max(each.kwh.central for each in standings))
    rows = [
        {
            "run": each.name,
            "number": number,
            "low": unit.of(each.kwh.low),
            "energy": unit.of(each.kwh.central),
            "high": unit.of(each.kwh.high),
            "value": each.value,
            "front": each.front,
        }
        for number, each in enumerate(standings, 1)
    ]
    log = standings[-1].kwh.central > 30 * standings[0].kwh.central > 0
    along = quantity("energy", f"energy, {unit.name}", scale={"type": "log"} if log else {"zero": True})
    up = quantity("value", axis=at_top(metric), scale={"zero": False, "nice": True, "padding": 14})
    shown = [
        {"field": "run"},
        {"field": "value", "title": metric, "format": ".4~g"},
        {"field": "energy", "title": f"energy, {unit.name}", "format": ".3~g"},
    ]
    front = {
        "transform": [{"filter": "datum.front"}],
        "mark": mark("line", interpolate="step-after", color=ACCENT, strokeWidth=2, strokeDash=[6, 4]),
        "encoding": {"x": along, "y": up},
    }
    ranges = {
        "mark": mark("rule", color=MUTED, strokeWidth=1.5, opacity=0.55),
        "encoding": {"x": along | {"field": "low"}, "x2": {"field": "high"}, "y": up},
    }
    colour = {"condition": {"test": "datum.front", "value": ACCENT}, "value": MUTED}
    points = {
        "mark": mark("point", filled=True, size=420, opacity=1, stroke=BACKGROUND, strokeWidth=1.5),
        "encoding": {"x": along, "y": up, "color": colour, "tooltip": shown},
    }
    numbers = {
        "mark": mark("text", color=BACKGROUND, fontWeight=700, fontSize=11),
        "encoding": {"x": along, "y": up, "text": {"field": "number"}, "tooltip": shown},
    }
    return spec(rows, HEIGHT, front, ranges, points, numbers)
