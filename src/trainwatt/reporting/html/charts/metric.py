"""Charts of a metric against energy, and of the energy per further point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainwatt.reporting.html.charts.base import (
    ACCENT,
    GOOD,
    INK,
    Spec,
    at_top,
    labelled_rule,
    log_ticks,
    mark,
    number,
    spec,
    tooltip,
)
from trainwatt.reporting.html.display_units import energy_unit, thinned
from trainwatt.reporting.html.marginal_cost import GainStep
from trainwatt.reporting.html.run_history import LearningCurve, Stop

HEIGHT = 240
MARGINAL_COST_HEIGHT = 170
_MOST = 400


def metric(curve: LearningCurve, total_kwh: float, stop: Stop | None) -> Spec:
    """Draw the evaluations and the best value so far."""
    unit = energy_unit(total_kwh)
    best = curve.best
    kept = thinned(curve.values, _MOST)
    rows = [
        {"energy": unit.of(curve.kwh[each]), "value": float(f"{curve.values[each]:.6g}"), "best": float(best[each])}
        for each in kept
    ]
    along = number("energy", f"energy so far, {unit.name}", scale={"domain": [0, unit.of(total_kwh)], "nice": False})
    up = at_top(curve.name)
    scale = {"zero": False, "nice": True}
    line = {
        "mark": mark("line", interpolate="step-after", color=ACCENT, strokeWidth=2),
        "encoding": {"x": along, "y": number("best", axis=up, scale=scale)},
    }
    points = {
        "mark": mark("point", filled=True, size=34 if len(rows) < 80 else 12, color=INK, opacity=0.75),
        "encoding": {
            "x": along,
            "y": number("value", axis=up, scale=scale),
            "tooltip": tooltip(value="value", best_so_far="best", **{f"energy,_{unit.name}": "energy"}),
        },
    }
    # Keep the label clear of the curve.
    at = 0 if curve.falls else HEIGHT - 20
    stopped = labelled_rule(unit.of(stop.kwh), f"stopped at {stop.at}", color=GOOD, at=at) if stop else []
    return spec(rows, HEIGHT, line, points, *stopped)


def marginal_cost(steps: Sequence[GainStep], total_kwh: float, point: str, stop: Stop | None) -> Spec:
    """Draw the energy per further point against the energy so far."""
    along_unit, cost_unit = energy_unit(total_kwh), energy_unit(float(np.median([step.cost_kwh for step in steps])))
    rows = [
        {
            "from": along_unit.of(step.from_kwh),
            "to": along_unit.of(step.to_kwh),
            "cost": cost_unit.of(step.cost_kwh),
            "gained": step.share,
        }
        for step in steps
    ]
    costs = [row["cost"] for row in rows]
    log = max(costs) > 20 * min(costs)
    least = min(costs) / 2 if log else 0
    scale = {"type": "log", "domainMin": least} if log else {"zero": True}
    up = at_top(f"{cost_unit.name} per {point}") | ({"values": log_ticks(least, 2 * max(costs))} if log else {})
    domain = {"domain": [0, along_unit.of(total_kwh)], "nice": False}
    bars = {
        "mark": mark("bar", color=ACCENT, opacity=0.7, stroke="var(--card)", strokeWidth=1),
        "encoding": {
            "x": number("from", f"energy so far, {along_unit.name}", scale=domain),
            "x2": {"field": "to"},
            "y": number("cost", axis=up, scale=scale),
            "y2": {"datum": least},
            "tooltip": tooltip(**{f"{cost_unit.name}_per_{point}": "cost"}, **{f"up_to,_{along_unit.name}": "to"}),
        },
    }
    stopped = labelled_rule(along_unit.of(stop.kwh), "", color=GOOD)[:1] if stop else []
    return spec(rows, MARGINAL_COST_HEIGHT, bars, *stopped)
