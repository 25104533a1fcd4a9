"""The price of each further point of a metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainwatt.reporting.html.run_history import Course

_SHARES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Rung:
    """A part of what a metric has gained.

    Attributes:
        share: of the whole gain, reached at its end.
        value: the metric there.
        from_kwh, to_kwh: the energy in which it was gained.
        price_kwh: what a point took in it.
    """

    share: float
    value: float
    from_kwh: float
    to_kwh: float
    price_kwh: float


def point_of(course: Course) -> tuple[float, str]:
    """What is called a point of a metric, and its name: 0.01 of what lies between 0 and 1, 1 of what goes to 100.

    Of a loss, or of what has no such scale, it is 1 % of all that was gained.
    """
    least, most = float(course.values.min()), float(course.values.max())
    if not course.falls and least >= 0 and most <= 1:
        return 0.01, "0.01"
    if not course.falls and least >= 0 and most <= 100:
        return 1.0, "1 point"
    return abs(float(course.best[-1] - course.values[0])) / 100, "1 % of the gain"


def rungs_of(course: Course) -> list[Rung]:
    """The gain in its parts: the first half, and then ever smaller ones; none where nothing was gained."""
    best = course.best
    first, last = float(best[0]), float(best[-1])
    if first == last:
        return []
    point, _ = point_of(course)
    gained = (best - first) / (last - first)
    rungs: list[Rung] = []
    from_kwh, from_gain = float(course.kwh[0]), 0.0
    for share in _SHARES:
        reached = int(np.argmax(gained >= share - 1e-12))
        to_kwh, gain = float(course.kwh[reached]), float(gained[reached])
        if gain <= from_gain or to_kwh <= from_kwh:
            continue
        points = (gain - from_gain) * abs(last - first) / point
        rungs.append(Rung(gain, float(best[reached]), from_kwh, to_kwh, (to_kwh - from_kwh) / points))
        from_kwh, from_gain = to_kwh, gain
    return rungs
