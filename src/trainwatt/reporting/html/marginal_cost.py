"""Energy per further point of a metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainwatt.reporting.html.run_history import LearningCurve

_SHARES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class GainStep:
    """Part of the total gain of a metric.

    Attributes:
        share: share of the total gain that is reached at the end of this part, 0 to 1.
        value: the metric at the end.
        from_kwh, to_kwh: cumulative energy at the beginning and at the end.
        cost_kwh: energy per point.
    """

    share: float
    value: float
    from_kwh: float
    to_kwh: float
    cost_kwh: float


def point_of(curve: LearningCurve) -> tuple[float, str]:
    """Return the size of one point of a metric, and its name.

    A point is 0.01 for metrics between 0 and 1, and 1 for metrics between 0 and 100. For losses and other scales it is
    1 % of the total gain.
    """
    least, most = float(curve.values.min()), float(curve.values.max())
    if not curve.falls and least >= 0 and most <= 1:
        return 0.01, "0.01"
    if not curve.falls and least >= 0 and most <= 100:
        return 1.0, "1 point"
    return abs(float(curve.best[-1] - curve.values[0])) / 100, "1 % of the gain"


def gain_steps_of(curve: LearningCurve) -> list[GainStep]:
    """Split the total gain into parts: the first half, then smaller ones. Empty if the metric gained nothing."""
    best = curve.best
    first, last = float(best[0]), float(best[-1])
    if first == last:
        return []
    point, _ = point_of(curve)
    gained = (best - first) / (last - first)
    steps: list[GainStep] = []
    from_kwh, from_gain = float(curve.kwh[0]), 0.0
    for share in _SHARES:
        reached = int(np.argmax(gained >= share - 1e-12))
        to_kwh, gain = float(curve.kwh[reached]), float(gained[reached])
        if gain <= from_gain or to_kwh <= from_kwh:
            continue
        points = (gain - from_gain) * abs(last - first) / point
        steps.append(GainStep(gain, float(best[reached]), from_kwh, to_kwh, (to_kwh - from_kwh) / points))
        from_kwh, from_gain = to_kwh, gain
    return steps
