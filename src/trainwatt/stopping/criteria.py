"""Criteria and decisions of green early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, get_args

from trainwatt import validation
from trainwatt.errors import ArgumentError
from trainwatt.stopping.budget import Budget
from trainwatt.stopping.reason import StopReason
from trainwatt.stopping.threshold import Mode, Threshold

# 0.1 points of an accuracy between 0 and 1
_POINT = 0.001

OverBudget = Literal["stop", "warn"]


# What the EarlyStopping of Keras, Lightning and transformers call by a name that is not ours: the values that ask for
# nothing, and what to use instead.
_ELSEWHERE: Mapping[str, tuple[tuple[object, ...], str]] = {
    "min_delta": ((0, None), "min_gain_per_percent= or min_gain_per_kwh= instead: what a gain must be for its energy"),
    "early_stopping_threshold": (
        (0, None),
        "min_gain_per_percent= or min_gain_per_kwh= instead: what a gain must be for its energy",
    ),
    "early_stopping_patience": ((), "patience= instead: further evaluations in a row that must agree"),
    "start_from_epoch": ((0, None), "warmup= instead: first evaluations after which the training is never stopped"),
    "restore_best_weights": (
        (False, None),
        "ModelCheckpoint(monitor=...) in Lightning or load_best_model_at_end=True in transformers instead",
    ),
    "strict": ((False, None), "nothing: here a missing metric is a warning"),
    # only rank 0 logs
    "log_rank_zero_only": ((True, False, None), ""),
}


def without_foreign(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those of the frameworks' own EarlyStopping that ask for nothing.

    Raises:
        ArgumentError: an option of theirs asks for something; the message names ours.
    """
    for name, (neutral, instead) in _ELSEWHERE.items():
        if name in options and not any(options[name] is value or options[name] == value for value in neutral):
            raise ArgumentError(name, options[name], instead)
    return {name: value for name, value in options.items() if name not in _ELSEWHERE}


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision after an evaluation, or after a check of the budgets.

    Attributes:
        stop: True if the training should stop now.
        sentence: message for the user, to be logged once; empty if there is none.
        metrics: values for the framework's logger.
        best: True if this evaluation is the best so far.
        reason: reason for which the training stops; None if it continues.
        diverged: True if the metric has not been finite for long enough to give up.
        cool_down: True if starting the learning rate's decay now is greener than stopping.
    """

    stop: bool = False
    sentence: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: bool = False
    reason: StopReason | None = None
    diverged: bool = False
    cool_down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingCriteria:
    """User settings of green early stopping.

    Attributes:
        min_gain_per_kwh: threshold in metric units per kWh; ``"auto"``: see ``min_gain_per_percent``; None: no
            threshold, the training is only observed.
        min_gain_per_percent: threshold in metric units per 1 % of the energy that the whole run is projected to use. If
            neither is given, the threshold is 0.1 % of the metric's range. That is 0.1 points of an accuracy, on a
            scale to 1 or to 100, or 0.1 % of a loss's first value.
        patience: number of further evaluations in a row that must agree before the training is stopped.
        warmup: number of first evaluations after which the training is never stopped.
        ideal: best possible value of the metric. None: 0 for ``"min"``, and 1 or 100 for ``"max"``.
        max_kwh: energy budget.
        max_co2e_kg: emission budget.
        max_cost: budget of the electricity cost.
        over_budget: ``"stop"``, or ``"warn"`` to only log a warning when a budget is exceeded.
        predictive: True to apply a budget as soon as the projection of the whole training exceeds it. The projection is
            made from the evaluations. The lower end of its 90 % interval counts.
        check_finite: True to stop at the first value that is not finite, False to never stop for that; None to stop
            after several in a row.
        stopping_threshold: value of the metric that is good enough: the training is stopped once it is reached.
        divergence_threshold: value of the metric that shows a divergence: the training is stopped once it is worse.
        baseline: value of the metric that must be passed. As long as no evaluation has passed it, the training is
            stopped by an evaluation that does not improve, as soon as there have been `patience` evaluations.

    Raises:
        ArgumentError: names the argument, the given value and the expected one.
    """

    min_gain_per_kwh: float | Literal["auto"] | None = "auto"
    min_gain_per_percent: float | None = None
    patience: int = 0
    warmup: int = 0
    ideal: float | None = None
    max_kwh: float | None = None
    max_co2e_kg: float | None = None
    max_cost: float | None = None
    over_budget: str = "stop"
    predictive: bool = False
    check_finite: bool | None = None
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None
    baseline: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.min_gain_per_kwh, str) and self.min_gain_per_kwh != "auto":
            raise ArgumentError("min_gain_per_kwh", self.min_gain_per_kwh, 'a positive number, "auto", or None')
        Threshold(self._per_kwh, self.min_gain_per_percent)
        for name in ("patience", "warmup"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ArgumentError(name, value, "an integer number of evaluations, 0 or more")
        for name in ("max_kwh", "max_co2e_kg", "max_cost"):
            if getattr(self, name) is not None:
                validation.positive(name, getattr(self, name), "a positive number, or None for no limit")
        if self.over_budget not in get_args(OverBudget):
            raise ArgumentError("over_budget", self.over_budget, '"stop" or "warn"')
        self._check_limits()

    def _check_limits(self) -> None:
        """Check the limits of the metric itself."""
        if self.check_finite not in (None, True, False):
            raise ArgumentError("check_finite", self.check_finite, "True, False, or None")
        for name in ("stopping_threshold", "divergence_threshold", "baseline"):
            value = getattr(self, name)
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if value is not None and not (is_number and math.isfinite(value)):
                raise ArgumentError(name, value, "a value of the metric, or None for no limit")

    @property
    def _per_kwh(self) -> float | None:
        return None if self.min_gain_per_kwh == "auto" else self.min_gain_per_kwh

    def threshold(self, mode: Mode, first: float, best: float) -> Threshold:
        """Return the threshold for a metric of a known scale.

        Args:
            mode: "max" if more of the metric is better, "min" if less.
            first: first value of the metric.
            best: best value so far.
        """
        if self.min_gain_per_kwh != "auto" or self.min_gain_per_percent is not None:
            return Threshold(self._per_kwh, self.min_gain_per_percent)
        ideal = self.ideal if self.ideal is not None else 0.0 if mode == "min" else 1.0 if best <= 1 else 100.0
        reach = abs(ideal - first) if mode == "min" else abs(ideal)
        return Threshold(min_gain_per_percent=_POINT * (reach or 1.0))

    def budget(self) -> Budget:
        """Return a new budget of these limits, none of them reported yet."""
        return Budget(max_kwh=self.max_kwh, max_co2e_kg=self.max_co2e_kg, max_cost=self.max_cost)
