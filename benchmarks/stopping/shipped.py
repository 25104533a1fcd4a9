"""Adapter of the shipped rule for `score.py`: `score.py shipped:factory`."""

from __future__ import annotations

from trainwatt.stopping.rule import StoppingRule
from trainwatt.stopping.threshold import Mode, Threshold


class Shipped:
    """The unchanged `StoppingRule`. Values are in points, so the ideal of a metric to maximise is 100."""

    def __init__(self, tau: float, mode: Mode, total: float) -> None:
        self.rule = StoppingRule(Threshold(min_gain_per_percent=tau), mode, ideal=100.0 if mode == "max" else 0.0)
        self.total = total

    def update(self, value: float, cost: float) -> bool:
        """Return True to stop now."""
        return self.rule.update(value, cost, planned_kwh=self.total).stop


factory = Shipped
