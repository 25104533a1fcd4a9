"""Limits of the metric itself that end a run, whatever its gain per energy: those of the frameworks' EarlyStopping."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainwatt.stopping.criteria import StoppingCriteria
from trainwatt.stopping.reason import StopReason
from trainwatt.stopping.threshold import Mode


@dataclass(frozen=True, slots=True)
class LimitReached:
    """Limit that the metric has reached.

    Attributes:
        reason: the limit.
        sentence: description for a person, to follow "stopped at epoch 23: ".
    """

    reason: StopReason
    sentence: str


class MetricLimits:
    """Check the metric against the limits that the user has set.

    Args:
        criteria: the user's settings.

    Attributes:
        waited: evaluations so far that could have ended the run, as long as none has passed the baseline.
    """

    def __init__(self, criteria: StoppingCriteria) -> None:
        self._criteria = criteria
        self.waited = 0

    def check(self, value: float | None, mode: Mode, best: float | None, *, improved: bool) -> LimitReached | None:
        """Return the limit that an evaluation has reached; None if it has reached none.

        Args:
            value: the metric; None, NaN or infinite if the evaluation failed.
            mode: "max" if more of the metric is better, "min" if less.
            best: best finite value so far, this one included; None if there is none.
            improved: True if this one is the best so far.
        """
        given = self._criteria
        if value is None or not math.isfinite(value):
            unfit = f"the metric is not finite ({value})"
            return LimitReached(StopReason.DIVERGED, unfit) if given.check_finite else None
        target, worst = given.stopping_threshold, given.divergence_threshold
        if target is not None and not _is_better(target, value, mode):
            return LimitReached(StopReason.THRESHOLD, f"the metric, {value:g}, has reached {target:g}")
        if worst is not None and _is_better(worst, value, mode):
            return LimitReached(StopReason.DIVERGED, f"the metric, {value:g}, is worse than {worst:g}")
        return self._below_baseline(mode, best, improved=improved)

    def _below_baseline(self, mode: Mode, best: float | None, *, improved: bool) -> LimitReached | None:
        baseline = self._criteria.baseline
        if baseline is None or best is None or _is_better(best, baseline, mode):
            return None
        # as Keras counts: an improvement that does not pass the baseline does not begin the wait again
        self.waited += 1
        if improved or self.waited < self._criteria.patience:
            return None
        sentence = f"the metric no longer improves, and its best value, {best:g}, has not passed {baseline:g}"
        return LimitReached(StopReason.BASELINE, sentence)


def _is_better(one: float, other: float, mode: Mode) -> bool:
    return one > other if mode == "max" else one < other
