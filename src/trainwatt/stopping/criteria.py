"""Criteria and decisions of green early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from trainwatt import validation
from trainwatt.errors import ArgumentError
from trainwatt.stopping.budget import Budget
from trainwatt.stopping.reason import StopReason
from trainwatt.stopping.threshold import Mode, Threshold

# 0.1 points of an accuracy between 0 and 1
_POINT = 0.001

OverBudget = Literal["stop", "warn"]


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
