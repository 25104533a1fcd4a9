"""The shipped rule as `score.py` wants it: `score.py shipped:factory`."""

from __future__ import annotations

from trainwatt.stopping.rule import Mode, Price, StoppingRule


class Shipped:
    """`GreenStopping` unchanged. Its values are in points, so that the ideal of a metric to maximise is 100."""

    def __init__(self, tau: float, mode: Mode, total: float) -> None:
        self.rule = StoppingRule(Price(min_gain_per_percent=tau), mode, ideal=100.0 if mode == "max" else 0.0)
        self.total = total

    def update(self, value: float, cost: float) -> bool:
        """True: stop now."""
        return self.rule.update(value, cost, planned_kwh=self.total).stop


factory = Shipped
