"""A metric against the energy that it took, and the price of each further point."""

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
from trainwatt.reporting.html.marginal_cost import Rung
from trainwatt.reporting.html.run_history import Course, Stop

HEIGHT = 240
PRICE_HEIGHT = 170
_MOST = 400


def metric(course: Course, total_kwh: float, stop: Stop | None) -> Spec:
    """The evaluations and the best of them so far."""
    unit = energy_unit(total_kwh)
    best = course.best
    kept = thinned(course.values, _MOST)
    rows = [
        {"energy": unit.of(course.kwh[each]), "value": float(f"{course.values[each]:.6g}"), "best": float(best[each])}
        for each in kept
    ]
    along = number("energy", f"energy so far, {unit.name}", scale={"domain": [0, unit.of(total_kwh)], "nice": False})
    up = at_top(course.name)
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
    at = 0 if course.falls else HEIGHT - 20  # where the line is not
    stopped = labelled_rule(unit.of(stop.kwh), f"stopped at {stop.at}", color=GOOD, at=at) if stop else []
    return spec(rows, HEIGHT, line, points, *stopped)


def price(rungs: Sequence[Rung], total_kwh: float, point: str, stop: Stop | None) -> Spec:
    """What a further point took, over the energy in which it was gained."""
    along_unit, price_unit = energy_unit(total_kwh), energy_unit(float(np.median([rung.price_kwh for rung in rungs])))
    rows = [
        {
            "from": along_unit.of(rung.from_kwh),
            "to": along_unit.of(rung.to_kwh),
            "price": price_unit.of(rung.price_kwh),
            "gained": rung.share,
        }
        for rung in rungs
    ]
    prices = [row["price"] for row in rows]
    log = max(prices) > 20 * min(prices)
    least = min(prices) / 2 if log else 0
    scale = {"type": "log", "domainMin": least} if log else {"zero": True}
    up = at_top(f"{price_unit.name} for {point}") | ({"values": log_ticks(least, 2 * max(prices))} if log else {})
    domain = {"domain": [0, along_unit.of(total_kwh)], "nice": False}
    bars = {
        "mark": mark("bar", color=ACCENT, opacity=0.7, stroke="var(--card)", strokeWidth=1),
        "encoding": {
            "x": number("from", f"energy so far, {along_unit.name}", scale=domain),
            "x2": {"field": "to"},
            "y": number("price", axis=up, scale=scale),
            "y2": {"datum": least},
            "tooltip": tooltip(**{f"{price_unit.name}_for_{point}": "price"}, **{f"up_to,_{along_unit.name}": "to"}),
        },
    }
    stopped = labelled_rule(along_unit.of(stop.kwh), "", color=GOOD)[:1] if stop else []
    return spec(rows, PRICE_HEIGHT, bars, *stopped)
