"""From the beginning of a run and a plan to what the whole run will take.

The measured past plus the projected rest, so that at the end the projection is the truth. The rest is a sum of terms:
steps still to be made at the rate of those made, evaluations at the cost of one, and what each epoch takes besides.
What happens only once counts once: within the first epoch its warm-up is left out of the rate (see
:mod:`trainwatt.projection.warmup`), from the second on the rate is that of the epochs after the first, later ones
weighing more.

The interval holds what the meters will have read at the end of the run with a chance of 90 %; how wrong the meters are
is another matter. It stands on the spread of what was seen, and on priors for what cannot be seen yet, which were
chosen on other runs than those that ``benchmarks/projection.py`` shows.
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

_Z = 1.645  # standard errors to either side: a two-sided 90 % interval
_WITHIN = 0.04  # prior standard deviation of the rate of the rest of an epoch
_NEXT = 0.10  # of later epochs, when one was seen: a cache filled in the first makes them cheaper, heat dearer
_EPOCHS = 0.055  # prior standard deviation of epochs
_PRIOR_EPOCHS = 2.0  # epochs that this prior counts for
_ALIKE = 3.0  # by how much neighbouring epochs, being alike, tell less than independent ones
_DECAY = 0.5 ** (1 / 6)  # what an epoch weighs less than the one after it: half in six epochs
_FIRST = 0.5  # what the first epoch without its warm-up weighs among the others, where it is like them
_LIKE = 0.15  # relative distance from them up to which it is
_FIRST_UNTIL = 8  # closed epochs up to which it is looked at
_PARTS = 10**9  # of a training of which only the part that is done is known
_RECENT = 24  # moments that are looked at of it
_TRAIN: Phase = "train"
_NOTHING = estimate_warmup(())  # no more is known than that it began
_UNSEEN = 0.5  # relative standard deviation of an evaluation that was not seen yet


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a run when it is projected.

    Attributes:
        phases: the whole run so far, by phase.
        epochs: the latest closed epochs, oldest first.
        closed: how many epochs are closed.
        closed_steps: training steps in these.
        begun: the first epoch of a phase, where its blocks are known.
    """

    phases: Mapping[Phase, Span]
    epochs: Sequence[Mapping[Phase, Span]] = ()
    closed: int = 0
    closed_steps: int = 0
    warmup: Mapping[Phase, WarmupEstimate] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Training steps so far."""
        return self.phases["train"].steps if "train" in self.phases else 0

    @property
    def later(self) -> Sequence[Mapping[Phase, Span]]:
        """Closed epochs after the run's first."""
        return self.epochs[1:] if self.closed == len(self.epochs) else self.epochs

    @property
    def needs_warmup(self) -> bool:
        """Whether the beginning of the run still tells something."""
        evaluations = sum("validate" in epoch for epoch in self.epochs)
        return self.closed <= _FIRST_UNTIL or (evaluations == 1 and "validate" in self.epochs[-1])


@dataclass(frozen=True, slots=True)
class Projection:
    """What a run will have taken when it ends as planned.

    Attributes:
        energy_kwh: of the whole run, as the meters will show it; 90 % interval.
        seconds: of the whole run.
        remaining_s: until it ends.
        phases_j: joules of the whole run by phase.
        epochs: epochs that were closed by then.
        steps: training steps that were made by then.
        plan: what was to come.
    """

    energy_kwh: Quantity
    seconds: float
    remaining_s: float
    phases_j: Mapping[Phase, float] = field(default_factory=dict)
    epochs: int = 0
    steps: int = 0
    plan: Plan = field(default_factory=Plan)

    def after(self, phases: Mapping[Phase, Span]) -> Projection:
        """The same with what was taken before the run that was projected, as it is known.

        Args:
            phases: of earlier attempts, by phase.
        """
        before = total_of(phases)
        kwh, energy = before.total_j / J_PER_KWH, self.energy_kwh
        phases_j = {
            phase: self.phases_j.get(phase, 0.0) + (phases[phase].total_j if phase in phases else 0.0)
            for phase in dict.fromkeys([*phases, *self.phases_j])
        }
        energy = Quantity(energy.low + kwh, energy.central + kwh, energy.high + kwh)
        return replace(self, energy_kwh=energy, seconds=self.seconds + before.seconds, phases_j=phases_j)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
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
    """What the whole run will take.

    Args:
        history: what was measured.
        plan: what is to come.

    Returns:
        None where the plan sets no end that is known, or nothing was trained yet.
    """
    rest = _remaining(history, plan)
    if rest is None:
        return None
    rate = _rate(history, rest)
    evaluation, doubt = _evaluation(history, plan, rate)
    to_come: dict[Phase, Cost] = {
        "train": rate.cost * rest.units,
        "validate": evaluation * (rest.evaluations if plan.validates else _as_before(history, rest, "validate")),
        "checkpoint": _each(history, "checkpoint") * _as_before(history, rest, "checkpoint"),
        "other": _besides(history) * rest.epochs,
    }
    rest_s = max(0.0, sum(cost.seconds for cost in to_come.values()))
    rest_j = max(0.0, sum(cost.joules for cost in to_come.values()))
    unseen = doubt * to_come["validate"].joules / rest_j if rest_j > 0 else 0.0
    spread = math.exp(_Z * math.hypot(_error(history, rest, rate), unseen))
    past_s = sum(span.seconds for span in history.phases.values())
    past_j = sum(span.total_j for span in history.phases.values())
    phases = [phase for phase in [*history.phases, *to_come] if phase in history.phases or to_come[phase].joules > 0]
    return Projection(
        energy_kwh=Quantity(*((past_j + each) / J_PER_KWH for each in (rest_j / spread, rest_j, rest_j * spread))),
        seconds=past_s + rest_s,
        remaining_s=rest_s,
        phases_j={
            phase: history.phases.get(phase, Span()).total_j + to_come.get(phase, Cost()).joules
            for phase in dict.fromkeys(phases)
        },
        epochs=history.closed,
        steps=history.steps,
        plan=plan,
    )


def project_from_checkpoints(course: Sequence[tuple[float, float]]) -> Quantity | None:
    """What a whole training will take, where no more is known than what it had taken at some moments.

    Args:
        course: the part of the training that was done, 0 to 1, and kWh up to then; in the order of time.

    Returns:
        kWh with a 90 % interval; None where nothing was done yet.
    """
    if not course or course[-1][0] <= 0:
        return None
    spans = [
        Span(joules={"": (kwh - before_kwh) * J_PER_KWH}, steps=round((done - before) * _PARTS))
        for (before, before_kwh), (done, kwh) in pairwise([(0.0, 0.0), *course])
    ]
    recent = [{_TRAIN: span} for span in spans[-_RECENT:]]
    projection = project(
        History(merged((SpanKey(0, _TRAIN), span) for span in spans), recent, len(spans)), Plan(steps=_PARTS)
    )
    return projection.energy_kwh if projection else None


class _Remaining(NamedTuple):
    """What is still to be made: training in steps, or in epochs where no steps are counted."""

    units: float
    within: float  # of these, in the current epoch
    epochs: float
    evaluations: int
    by_steps: bool


class _Rate(NamedTuple):
    """Cost of a unit of training, and the relative standard error of what was seen."""

    cost: Cost
    error: float


def _remaining(history: History, plan: Plan) -> _Remaining | None:
    if not history.steps:
        left = (plan.epochs or 0) - history.closed
        if not history.closed or plan.epochs is None or left < 0:
            return None
        evaluations = plan.evaluations(plan.epochs, 0) - plan.evaluations(history.closed, 0)
        return _Remaining(left, 0, left, evaluations, by_steps=False)
    open_steps = history.steps - history.closed_steps + (0 if history.closed else plan.skipped_steps)
    whole = history.closed - (1 if plan.skipped_steps else 0)
    per_epoch = (
        history.epochs[-1]["train"].steps if whole > 0 and "train" in history.epochs[-1] else plan.steps_per_epoch
    )
    limits = [] if plan.steps is None else [plan.steps - history.steps]
    if plan.epochs is not None and history.closed >= plan.epochs:
        limits.append(0)
    elif plan.epochs is not None and per_epoch:
        limits.append((plan.epochs - history.closed) * per_epoch - open_steps)
    if not limits:
        return None
    left = max(0, min(limits))
    epochs = history.closed + ((open_steps + left) / per_epoch if per_epoch else 0.0)
    evaluations = plan.evaluations(epochs, history.steps + left) - plan.evaluations(history.closed, history.steps)
    if left and plan.validates_last:
        evaluations += plan.ends_between(epochs, history.steps + left)
    within = min(left, per_epoch - open_steps) if per_epoch and (open_steps or not history.closed) else 0
    return _Remaining(
        left, left if per_epoch is None else max(0, within), epochs - history.closed, evaluations, by_steps=True
    )


def _cost(span: Span | None) -> Cost:
    return Cost(span.seconds, span.total_j) if span else Cost()


def _rate(history: History, rest: _Remaining) -> _Rate:
    """Of the epochs, the first without its warm-up, where it is like the others at all."""
    seen = [epoch["train"] for epoch in history.later if "train" in epoch]
    if rest.by_steps:
        seen = [span for span in seen if span.steps]
    costs = [_cost(span) / (span.steps if rest.by_steps else 1) for span in seen]
    if seen and history.closed > _FIRST_UNTIL:
        return _mean(costs)
    warmup = history.warmup.get("train", _NOTHING)
    train = history.epochs[0]["train"] if seen and "train" in history.epochs[0] else history.phases["train"]
    first = (_cost(train) - warmup.excess) / (train.steps or history.closed)
    if not seen:
        return _Rate(first, warmup.error)
    later = _mean(costs)
    if not first.is_like(later.cost, _LIKE):
        return later
    return _mean([first, *costs], first=_FIRST)


def _mean(costs: Sequence[Cost], first: float = 1.0) -> _Rate:
    """The mean of epochs, of which later ones weigh more, and what it tells of the mean of those to come."""
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
    """Relative standard deviation of the rest."""
    if not rest.units:
        return rate.error
    if history.later:
        to_come = _EPOCHS * math.sqrt(_ALIKE / max(1.0, rest.epochs))
        return math.hypot(rate.error, to_come)
    within = rest.within / rest.units
    return math.hypot(rate.error, within * _WITHIN + (1 - within) * _NEXT)


def _evaluation(history: History, plan: Plan, rate: _Rate) -> tuple[Cost, float]:
    """Cost of an evaluation, and its relative standard deviation beyond that of the rate."""
    seen = [epoch["validate"] for epoch in history.later if "validate" in epoch and epoch["validate"].entries]
    whole = history.phases.get("validate")
    if whole is None or not whole.entries:
        batches = plan.validation_batches or 0
        return rate.cost * (plan.validation_share * batches), _UNSEEN
    if len(seen) > 1 or (seen and whole.entries > seen[0].entries):
        return _mean([_cost(span) / span.entries for span in seen]).cost, 0.0
    return (_cost(whole) - history.warmup.get("validate", _NOTHING).excess) / whole.entries, 0.0


def _each(history: History, phase: Phase) -> Cost:
    """Cost of entering a phase once."""
    span = history.phases.get(phase, Span())
    return _cost(span) / max(1, span.entries)


def _as_before(history: History, rest: _Remaining, phase: Phase) -> float:
    """How often a phase will still be entered, if it comes as often as it came."""
    entries = history.phases.get(phase, Span()).entries
    return entries / history.closed * rest.epochs if history.closed else entries / max(1, history.steps) * rest.units


def _besides(history: History) -> Cost:
    """What an epoch takes outside of all phases; what the first does is begin the run and wait for its figures."""
    others = [_cost(epoch.get("other")) for epoch in history.later]
    return _mean(others).cost if others else Cost()
