"""Project the energy and duration of a whole run from its beginning and its plan.

A projection is the measured past plus the estimated remaining work, so at the end of the run it equals the measured
total. The remaining work is a sum of terms: steps at the rate of completed steps, evaluations at the cost of one, and
the time of each epoch outside of all phases. One-off costs count once. Within the first epoch, its warm-up is excluded
from the rate (see :mod:`trainwatt.projection.warmup`). From the second epoch on, the rate is that of the epochs after
the first, with larger weights for later epochs.

The 90 % interval covers what the meters will have read at the end of the run, not the error of the meters. It is based
on the spread of the past, and on priors for what has not been observed yet. The priors were chosen on other runs than
those that ``benchmarks/projection.py`` reports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

from trainwatt.accounting.timeline import Phase, Span, SpanKey, merged, total_of
from trainwatt.projection.plan import Plan
from trainwatt.projection.warmup import Cost, WarmupEstimate, estimate_warmup
from trainwatt.quantity import Quantity
from trainwatt.units import J_PER_KWH

# Standard errors on either side of a two-sided 90 % interval.
_Z = 1.645
# Prior standard deviation of the rate of the remaining epoch, relative to the completed part.
_WITHIN = 0.04
# The same of later epochs, after a single one: a cache filled in the first makes them cheaper, heat more expensive.
_NEXT = 0.10
# Prior relative standard deviation between epochs.
_EPOCHS = 0.055
# Number of epochs that this prior counts for.
_PRIOR_EPOCHS = 2.0
# Variance inflation of a mean of epochs, because neighbouring epochs are correlated.
_ALIKE = 3.0
# Weight of an epoch relative to the next one: it halves every six epochs.
_DECAY = 0.5 ** (1 / 6)
# Weight of the first epoch without its warm-up, if it is similar to the others.
_FIRST = 0.5
# Largest relative distance from the others for it to be similar.
_LIKE = 0.15
# Number of completed epochs up to which the first one is used.
_FIRST_UNTIL = 8
# Number of steps that a run is divided into if only its progress is known.
_PARTS = 10**9
# Number of latest checkpoints that are used in this case.
_RECENT = 24
_TRAIN: Phase = "train"
# Warm-up estimate for a phase without any steps.
_NO_WARMUP = estimate_warmup(())
# Prior relative standard deviation of an evaluation's cost before the first one.
_UNSEEN = 0.5


@dataclass(frozen=True, slots=True)
class History:
    """Measurements of a run, or of one loop of epochs in it, up to the time of its projection.

    Attributes:
        phases: totals so far, by phase.
        epochs: totals of the latest completed epochs, by phase, oldest first.
        closed: number of completed epochs.
        closed_steps: number of training steps before the open epoch.
        warmup: warm-up estimates of the phases for which one is available.
        repeated_epochs: completed epochs that do not count for the plan, because a checkpoint was restored.
        repeated_steps: training steps likewise.
        experience: totals of completed epochs with training of earlier loops that resemble this one, oldest first.
    """

    phases: Mapping[Phase, Span]
    epochs: Sequence[Mapping[Phase, Span]] = ()
    closed: int = 0
    closed_steps: int = 0
    warmup: Mapping[Phase, WarmupEstimate] = field(default_factory=dict)
    repeated_epochs: int = 0
    repeated_steps: int = 0
    experience: Sequence[Mapping[Phase, Span]] = ()

    @property
    def done_epochs(self) -> int:
        """Number of completed epochs of the plan."""
        return self.closed - self.repeated_epochs

    @property
    def done_steps(self) -> int:
        """Number of completed training steps of the plan."""
        return self.steps - self.repeated_steps

    @property
    def counts_steps(self) -> bool:
        """True if training steps are counted; before the first epoch of a loop, as in the loops before."""
        before = () if self.closed else self.experience
        return self.steps > 0 or any(epoch[_TRAIN].steps for epoch in before)

    @property
    def steps(self) -> int:
        """Number of training steps so far."""
        return self.phases["train"].steps if "train" in self.phases else 0

    @property
    def later(self) -> Sequence[Mapping[Phase, Span]]:
        """Completed epochs after the first one, with those of earlier loops."""
        return [*self.experience, *(self.epochs[1:] if self.closed == len(self.epochs) else self.epochs)]

    @property
    def needs_warmup(self) -> bool:
        """True if the warm-up estimates still affect the projection."""
        evaluations = sum("validate" in epoch for epoch in self.epochs)
        return self.closed <= _FIRST_UNTIL or (evaluations == 1 and "validate" in self.epochs[-1])


@dataclass(frozen=True, slots=True)
class Projection:
    """Projected energy and duration of a run that ends as planned.

    Attributes:
        energy_kwh: energy of the whole run as the meters will show it, with a 90 % interval.
        seconds: duration of the whole run.
        remaining_s: time until the run ends.
        phases_j: energy of the whole run in joules, by phase.
        epochs: number of completed epochs at the time of the projection.
        steps: number of completed training steps at the time of the projection.
        plan: plan that the projection is based on.
        done_epochs: completed epochs of this plan, which covers the present loop.
        done_steps: completed training steps of this plan.
    """

    energy_kwh: Quantity
    seconds: float
    remaining_s: float
    phases_j: Mapping[Phase, float] = field(default_factory=dict)
    epochs: int = 0
    steps: int = 0
    plan: Plan = field(default_factory=Plan)
    done_epochs: int = 0
    done_steps: int = 0

    def after(self, phases: Mapping[Phase, Span]) -> Projection:
        """Return the projection with the energy and duration of earlier attempts added.

        Args:
            phases: totals of the earlier attempts, by phase.
        """
        before = total_of(phases)
        kwh, energy = before.total_j / J_PER_KWH, self.energy_kwh
        phases_j = {
            phase: self.phases_j.get(phase, 0.0) + (phases[phase].total_j if phase in phases else 0.0)
            for phase in dict.fromkeys([*phases, *self.phases_j])
        }
        energy = Quantity(energy.low + kwh, energy.central + kwh, energy.high + kwh)
        return replace(self, energy_kwh=energy, seconds=self.seconds + before.seconds, phases_j=phases_j)

    def at_least(self, kwh: float) -> Projection:
        """Return the projection raised to the energy so far, which the whole run cannot be below.

        Args:
            kwh: energy so far.
        """
        energy = self.energy_kwh.at_least(kwh)
        if energy is self.energy_kwh:
            return self
        ratio = energy.central / self.energy_kwh.central if self.energy_kwh.central else 1.0
        return replace(self, energy_kwh=energy, phases_j={phase: ratio * j for phase, j in self.phases_j.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the projection as JSON-serialisable values."""
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "total_kwh": self.energy_kwh.to_dict(),
            "seconds": self.seconds,
            "remaining_s": self.remaining_s,
            "phases_j": dict(self.phases_j),
            "may_stop": self.plan.may_stop,
        }


def project(history: History, plan: Plan) -> Projection | None:
    """Project the energy and duration of the whole run.

    Args:
        history: measurements so far.
        plan: plan of the run.

    Returns:
        The projection; None if the plan has no known end, or before any training.
    """
    rest = _remaining(history, plan) if _TRAIN in history.phases or history.experience else None
    if rest is None:
        return None
    rate = _rate(history, rest)
    evaluation, evaluation_sd = _evaluation(history, plan, rate)
    remaining: dict[Phase, Cost] = {
        "train": rate.cost * rest.units,
        "validate": evaluation * (rest.evaluations if plan.validates else _as_before(history, rest, "validate")),
        "checkpoint": _cost_per_entry(history, "checkpoint") * _as_before(history, rest, "checkpoint"),
        "other": _outside_phases(history) * rest.epochs,
    }
    rest_s = max(0.0, sum(cost.seconds for cost in remaining.values()))
    rest_j = max(0.0, sum(cost.joules for cost in remaining.values()))
    unseen = evaluation_sd * remaining["validate"].joules / rest_j if rest_j > 0 else 0.0
    spread = math.exp(_Z * math.hypot(_error(history, rest, rate), unseen))
    past_s = sum(span.seconds for span in history.phases.values())
    past_j = sum(span.total_j for span in history.phases.values())
    phases = [
        phase for phase in [*history.phases, *remaining] if phase in history.phases or remaining[phase].joules > 0
    ]
    return Projection(
        energy_kwh=Quantity(*((past_j + each) / J_PER_KWH for each in (rest_j / spread, rest_j, rest_j * spread))),
        seconds=past_s + rest_s,
        remaining_s=rest_s,
        phases_j={
            phase: history.phases.get(phase, Span()).total_j + remaining.get(phase, Cost()).joules
            for phase in dict.fromkeys(phases)
        },
        epochs=history.closed,
        steps=history.steps,
        plan=plan,
        done_epochs=history.done_epochs,
        done_steps=history.done_steps,
    )


def project_from_checkpoints(checkpoints: Sequence[tuple[float, float]]) -> Quantity | None:
    """Project the energy of a whole run from its progress and energy at some moments.

    Args:
        checkpoints: progress (0 to 1) and cumulative energy in kWh, in order of time.

    Returns:
        Energy in kWh with a 90 % interval; None before any progress.
    """
    if not checkpoints or checkpoints[-1][0] <= 0:
        return None
    spans = [
        Span(joules={"": (kwh - before_kwh) * J_PER_KWH}, steps=round((done - before) * _PARTS))
        for (before, before_kwh), (done, kwh) in pairwise([(0.0, 0.0), *checkpoints])
    ]
    recent = [{_TRAIN: span} for span in spans[-_RECENT:]]
    projection = project(
        History(merged((SpanKey(0, _TRAIN), span) for span in spans), recent, len(spans)), Plan(steps=_PARTS)
    )
    return projection.energy_kwh if projection else None


def resemble(some: Sequence[Mapping[Phase, Span]], others: Sequence[Mapping[Phase, Span]]) -> bool:
    """Return True if training takes about as much in some epochs as in others, by step or else by epoch.

    Args:
        some: completed epochs, by phase.
        others: completed epochs, by phase.
    """
    pair = [[epoch[_TRAIN] for epoch in epochs if _TRAIN in epoch] for epochs in (some, others)]
    steps = [sum(span.steps for span in spans) for spans in pair]
    counts = steps if all(steps) else [len(spans) for spans in pair]
    if not all(counts):
        return False
    one, other = (sum(map(_cost, spans), Cost()) / count for spans, count in zip(pair, counts, strict=True))
    return one.is_like(other, _LIKE)


class _Remaining(NamedTuple):
    """Remaining work of a run.

    Attributes:
        units: remaining training steps, or epochs if no steps are counted.
        within: units that belong to the current epoch.
        epochs: remaining epochs.
        evaluations: remaining evaluations of the plan.
        by_steps: True if the units are steps.
    """

    units: float
    within: float
    epochs: float
    evaluations: int
    by_steps: bool


class _Rate(NamedTuple):
    """Cost of a unit of training, and its relative standard error."""

    cost: Cost
    error: float


def _remaining(history: History, plan: Plan) -> _Remaining | None:
    return _remaining_steps(history, plan) if history.counts_steps else _remaining_epochs(history, plan)


def _remaining_epochs(history: History, plan: Plan) -> _Remaining | None:
    """Return the remaining work of a run that counts no steps; None if it is unknown."""
    is_known = history.closed or history.experience
    if not is_known or plan.epochs is None or plan.epochs < history.done_epochs:
        return None
    left = plan.epochs - history.done_epochs
    evaluations = plan.evaluations(plan.epochs, 0) - plan.evaluations(history.done_epochs, 0)
    return _Remaining(left, 0, left, evaluations, by_steps=False)


def _remaining_steps(history: History, plan: Plan) -> _Remaining | None:
    """Return the remaining work of a run that counts steps; None if it is unknown."""
    per_epoch = _steps_per_epoch(history, plan)
    open_steps = history.steps - history.closed_steps + (0 if history.closed else plan.skipped_steps)
    left = _steps_left(history, plan, per_epoch, open_steps)
    if left is None:
        return None
    epochs = history.done_epochs + ((open_steps + left) / per_epoch if per_epoch else 0.0)
    return _Remaining(
        left,
        _steps_left_in_epoch(history, per_epoch, open_steps, left),
        epochs - history.done_epochs,
        _evaluations_left(history, plan, epochs, left),
        by_steps=True,
    )


def _steps_per_epoch(history: History, plan: Plan) -> int | None:
    """Return the length of an epoch as measured in the latest whole one, else as planned."""
    # with skipped steps, the first epoch of this run is not a whole one
    whole_epochs = history.closed - (1 if plan.skipped_steps else 0)
    if whole_epochs > 0 and "train" in history.epochs[-1]:
        return history.epochs[-1]["train"].steps
    before = history.experience[-1][_TRAIN].steps if history.experience else None
    return plan.steps_per_epoch or before or None


def _steps_left(history: History, plan: Plan, per_epoch: int | None, open_steps: int) -> int | None:
    """Return the number of steps until the plan's first limit; None if no limit is known in steps."""
    limits = [] if plan.steps is None else [plan.steps - history.done_steps]
    if plan.epochs is not None and history.done_epochs >= plan.epochs:
        limits.append(0)
    elif plan.epochs is not None and per_epoch:
        limits.append((plan.epochs - history.done_epochs) * per_epoch - open_steps)
    return max(0, min(limits)) if limits else None


def _steps_left_in_epoch(history: History, per_epoch: int | None, open_steps: int, left: int) -> int:
    """Return the number of remaining steps that belong to the current epoch."""
    if per_epoch is None:
        return left
    is_within_epoch = open_steps or not history.closed
    return max(0, min(left, per_epoch - open_steps)) if per_epoch and is_within_epoch else 0


def _evaluations_left(history: History, plan: Plan, epochs: float, left: int) -> int:
    """Return the number of evaluations in the remaining steps.

    Args:
        history: measurements so far.
        plan: plan of the run.
        epochs: number of epochs in the whole run.
        left: number of remaining steps.
    """
    steps = history.done_steps + left
    evaluations = plan.evaluations(epochs, steps) - plan.evaluations(history.done_epochs, history.done_steps)
    is_extra_due = left and plan.validates_last and plan.ends_between(epochs, steps)
    return evaluations + (1 if is_extra_due else 0)


def _cost(span: Span | None) -> Cost:
    return Cost(span.seconds, span.total_j) if span else Cost()


def _rate(history: History, rest: _Remaining) -> _Rate:
    """Return the rate of the epochs. The first one counts without its warm-up, if it is similar to the others."""
    seen = [epoch["train"] for epoch in history.later if "train" in epoch]
    if rest.by_steps:
        seen = [span for span in seen if span.steps]
    costs = [_cost(span) / (span.steps if rest.by_steps else 1) for span in seen]
    if seen and (history.closed > _FIRST_UNTIL or not history.closed):
        return _mean(costs)
    warmup = history.warmup.get("train", _NO_WARMUP)
    train = history.epochs[0]["train"] if seen and "train" in history.epochs[0] else history.phases["train"]
    first = (_cost(train) - warmup.excess) / (train.steps or history.closed)
    if not seen:
        return _Rate(first, warmup.error)
    later = _mean(costs)
    if not first.is_like(later.cost, _LIKE):
        return later
    return _mean([first, *costs], first=_FIRST)


def _mean(costs: Sequence[Cost], first: float = 1.0) -> _Rate:
    """Return the weighted mean of epochs, and its relative standard error as an estimate of later epochs.

    Args:
        costs: cost of each epoch, oldest first; later ones have larger weights.
        first: factor on the weight of the first one.
    """
    weights = [_DECAY**age for age in range(len(costs) - 1, -1, -1)]
    weights[0] *= first
    total = sum(weights)
    mean = sum((cost * weight for cost, weight in zip(costs, weights, strict=True)), Cost()) / total
    spread = 0.0
    if mean.joules > 0:
        spread = sum(w * (cost.joules / mean.joules - 1) ** 2 for cost, w in zip(costs, weights, strict=True))
    count = total**2 / sum(weight**2 for weight in weights)
    variance = (_PRIOR_EPOCHS * _EPOCHS**2 + spread) / (_PRIOR_EPOCHS + max(0.0, total - 1))
    return _Rate(mean, math.sqrt(variance * _ALIKE / count))


def _error(history: History, rest: _Remaining, rate: _Rate) -> float:
    """Return the relative standard deviation of the remaining work."""
    if not rest.units:
        return rate.error
    if history.later:
        later_epochs = _EPOCHS * math.sqrt(_ALIKE / max(1.0, rest.epochs))
        # No epoch of this loop has shown yet that it resembles those before.
        return math.hypot(rate.error, later_epochs, 0.0 if history.closed else _NEXT)
    within = rest.within / rest.units
    return math.hypot(rate.error, within * _WITHIN + (1 - within) * _NEXT)


def _evaluation(history: History, plan: Plan, rate: _Rate) -> tuple[Cost, float]:
    """Return the cost of an evaluation, and its relative standard deviation in addition to that of the rate."""
    seen = [epoch["validate"] for epoch in history.later if "validate" in epoch and epoch["validate"].entries]
    whole = history.phases.get("validate")
    if seen and (whole is None or not whole.entries):
        return _mean([_cost(span) / span.entries for span in seen]).cost, 0.0
    if whole is None or not whole.entries:
        batches = plan.validation_batches or 0
        return rate.cost * (plan.validation_share * batches), _UNSEEN
    if len(seen) > 1 or (seen and whole.entries > seen[0].entries):
        return _mean([_cost(span) / span.entries for span in seen]).cost, 0.0
    return (_cost(whole) - history.warmup.get("validate", _NO_WARMUP).excess) / whole.entries, 0.0


def _cost_per_entry(history: History, phase: Phase) -> Cost:
    """Return the mean cost of entering a phase once."""
    span = history.phases.get(phase, Span())
    if not span.entries:
        span = total_of({epoch: phases[phase] for epoch, phases in enumerate(history.experience) if phase in phases})
    return _cost(span) / max(1, span.entries)


def _as_before(history: History, rest: _Remaining, phase: Phase) -> float:
    """Return how often a phase will be entered in the remaining work, at its past frequency."""
    entries = history.phases.get(phase, Span()).entries
    if not history.closed and history.experience:
        before = sum(epoch[phase].entries for epoch in history.experience if phase in epoch)
        return max(0.0, before / len(history.experience) * rest.epochs - entries)
    return entries / history.closed * rest.epochs if history.closed else entries / max(1, history.steps) * rest.units


def _outside_phases(history: History) -> Cost:
    """Return the cost of an epoch outside of all phases. The first one is excluded, because it includes the setup."""
    others = [_cost(epoch.get("other")) for epoch in history.later]
    return _mean(others).cost if others else Cost()
