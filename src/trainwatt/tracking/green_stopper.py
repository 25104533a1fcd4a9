"""When to stop a training green: the rule, the budgets and the meter, for the callbacks and for a loop of one's own."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from trainwatt import validation
from trainwatt.distributed.process_group import ALONE, ProcessGroup
from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import Footprint
from trainwatt.formatting import energy_text, mass_text
from trainwatt.projection.projection import project_from_checkpoints
from trainwatt.quantity import Quantity
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.stopping.rule import MIN_EVALUATIONS, Mode, Price, StoppingRule, Verdict
from trainwatt.tracking.session_registry import log_to_all
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.tracker import Tracker

if TYPE_CHECKING:
    pass

_log = logging.getLogger("trainwatt")

_SITE = ("site", "zone", "cloud", "pue", "wue", "tariff", "carbon_intensity")
_POINT = 0.001  # 0.1 points of an accuracy between 0 and 1
_FORESEEN_BY = 3  # evaluations; the setup, before the first one, is not like what follows
_ROUGH_S = 5.0  # figures of the first tenths of a second are rough, which the shorter a run the more counts
_LOOK_S = 1.0  # a budget is looked at this often within an epoch

OverBudget = Literal["stop", "warn"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an evaluation.

    Attributes:
        stop: whether to stop the training now.
        sentence: what to tell a person, once; empty: nothing.
        metrics: values for the framework's logger.
        best: whether this evaluation is the best so far.
    """

    stop: bool = False
    sentence: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True, slots=True)
class StoppingCriteria:
    """What a user of green stopping asks for.

    Attributes:
        min_gain_per_kwh: the price in metric units per kWh; ``"auto"``: see ``min_gain_per_percent``; None: no price,
            the training is only observed.
        min_gain_per_percent: the price in metric units per 1 % of the energy that the whole run is going to take. With
            neither given, 0.1 % of what the metric can gain in all: 0.1 points of an accuracy, whether that lies
            between 0 and 1 or between 0 and 100, and for a loss 0.1 % of its first value.
        patience: so many further evaluations in a row must find the same before the training is stopped.
        warmup: evaluations in the beginning after which it is never stopped.
        ideal: the best that the metric can be; None: 0 for a loss, 1 or 100 for what is to be large.
        max_kwh: energy that the training may take.
        max_co2e_kg: emissions that it may cause.
        max_cost: what its electricity may cost.
        over_budget: ``"stop"`` or only ``"warn"`` when one of these three is reached.
        foresee: whether one counts as reached as soon as the whole training is bound to pass it: when even the lower
            end of the 90 % interval of what it is going to take, projected from its evaluations, lies beyond.
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
    foresee: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.min_gain_per_kwh, str) and self.min_gain_per_kwh != "auto":
            raise ArgumentError("min_gain_per_kwh", self.min_gain_per_kwh, 'a positive number, "auto", or None')
        Price(self._per_kwh, self.min_gain_per_percent)
        for name in ("patience", "warmup"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ArgumentError(name, value, "a whole number of evaluations, 0 or more")
        for name in ("max_kwh", "max_co2e_kg", "max_cost"):
            if getattr(self, name) is not None:
                validation.positive(name, getattr(self, name), "a positive number, or None for no limit")
        if self.over_budget not in get_args(OverBudget):
            raise ArgumentError("over_budget", self.over_budget, '"stop" or "warn"')

    @property
    def _per_kwh(self) -> float | None:
        return None if self.min_gain_per_kwh == "auto" else self.min_gain_per_kwh

    def price(self, mode: Mode, first: float, best: float) -> Price:
        """The price, once the metric's scale is known from its first and its best value."""
        if self.min_gain_per_kwh != "auto" or self.min_gain_per_percent is not None:
            return Price(self._per_kwh, self.min_gain_per_percent)
        ideal = self.ideal if self.ideal is not None else 0.0 if mode == "min" else 1.0 if best <= 1 else 100.0
        reach = abs(ideal - first) if mode == "min" else abs(ideal)
        return Price(min_gain_per_percent=_POINT * (reach or 1.0))

    @property
    def limited(self) -> bool:
        """Whether there is a budget."""
        return any(limit is not None for limit in (self.max_kwh, self.max_co2e_kg, self.max_cost))

    def excess(self, spent: Footprint, how: str = "is spent") -> str:
        """Which budget has been reached, as a sentence; empty while none has."""
        cost = spent.cost.central if spent.cost else math.nan
        if self.max_kwh is not None and spent.energy_kwh.central >= self.max_kwh:
            return f"the energy budget of {energy_text(self.max_kwh)} {how}"
        if self.max_co2e_kg is not None and spent.co2e_kg.central >= self.max_co2e_kg:
            return f"the budget of {mass_text(self.max_co2e_kg)} CO2e {how}"
        if self.max_cost is not None and cost >= self.max_cost:
            return f"the budget of {self.max_cost:g} {spent.currency or ''} {how}".replace("  ", " ")
        return ""


class GreenStopper:
    """Judges a training by what its evaluations gain for the energy they take.

    >>> stopper = GreenStopper("max", min_gain_per_kwh=0.5, zone="FR")  # an accuracy; half of it per kWh
    >>> with stopper:  # doctest: +SKIP
    ...     for epoch in range(100):
    ...         train()
    ...         if stopper.evaluated(accuracy(), done=(epoch + 1) / 100).stop:
    ...             break

    Args:
        mode: ``"max"`` where more of the metric is better, ``"min"`` where less is; None: set before the first
            evaluation.
        terms: see :class:`Terms`; as one object or as its keyword arguments.
        options: where it runs and what is measured, as for :func:`trainwatt.measure`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    def __init__(self, mode: Mode | None, terms: StoppingCriteria | None = None, **options: Any) -> None:
        given = {name: options.pop(name) for name in list(options) if name in StoppingCriteria.__slots__}
        self.terms = replace(terms or StoppingCriteria(), **given)
        self.mode = mode
        self._sited = any(options.get(name) is not None for name in _SITE)
        settings = Settings.check(output_dir=None, verbose=False, **options)
        if self.terms.max_cost is not None and self._sited and settings.site.price is None:
            raise ArgumentError("max_cost", self.terms.max_cost, "tariff= beside it: no price is known for this place")
        self._tracker = Tracker(settings)
        self._reset()

    def _reset(self) -> None:
        self._rule: StoppingRule | None = None
        self._first: float | None = None
        self._best: float | None = None
        self._evaluations = self._agreed = 0
        self._before_kwh = 0.0  # of attempts that have ended
        self._told: set[str] = set()
        self._course: list[tuple[float, float]] = []  # part done and kWh spent, at each evaluation
        self._planned_kwh: Quantity | None = None  # by the whole training, if it runs to the end
        self._looked_s = -math.inf
        self._began_s = time.monotonic()

    def start(self, gpu_uuids: Sequence[str] | None = None, processes: ProcessGroup = ALONE) -> None:
        """A training begins; what an earlier one has left is forgotten.

        Args:
            gpu_uuids: the GPUs that it uses, where that is known.
            processes: those of the job, where there are several: all must begin together, and the first one judges.
        """
        self._reset()
        self._tracker.start(gpu_uuids=gpu_uuids, processes=processes)

    def exchange(self) -> None:
        """All processes of the job, each before the first one judges: so that it knows what they all have spent."""
        self._tracker.exchange()

    def stop(self) -> None:
        """The training has ended; what it took stays known."""
        snapshot = self._tracker.stop()
        self._before_kwh += snapshot.energy_kwh.central if snapshot else 0.0

    def __enter__(self) -> GreenStopper:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def spent_kwh(self) -> float:
        """Energy so far, earlier attempts of a resumed training included."""
        snapshot = self._tracker.snapshot()
        return self._before_kwh + (snapshot.energy_kwh.central if snapshot else 0.0)

    def evaluate(
        self,
        value: float | None,
        *,
        done: float | None = None,
        when: str = "",
        remaining_lr: Sequence[float] | None = None,
        metric: str = "",
    ) -> Decision:
        """Judge after an evaluation.

        Args:
            value: the metric; None, NaN or infinite where the evaluation gave none.
            done: the part of the planned training that is done, 0 to 1; None: unknown.
            when: for the sentence, e.g. ``"epoch 23"``.
            remaining_lr: the learning rates from now to the end of the plan, evenly spaced, where that is known.
            metric: its name, for the record.
        """
        young = not self._evaluations and time.monotonic() - self._began_s < _ROUGH_S
        if young or not self.spent_kwh:
            self._tracker.wait_until_settled()
        spent_kwh = self.spent_kwh
        rule, best = self._made(), self._note(value)
        if self._first is not None and self._best is not None:
            rule.price = self.terms.price(rule.mode, self._first, self._best)
        if done:
            self._course = [(part, min(kwh, spent_kwh)) for part, kwh in self._course] + [(done, spent_kwh)]
            self._planned_kwh = project_from_checkpoints(self._course)
        planned_kwh = self._planned_kwh.central if self._planned_kwh else None
        verdict = rule.update(value, spent_kwh, planned_kwh=planned_kwh, remaining_lr=remaining_lr)
        self._agreed = self._agreed + 1 if verdict.stop else 0
        over = done is not None and done >= 1  # at the end there is nothing left to stop
        stop = self._agreed > self.terms.patience and self._evaluations > self.terms.warmup and not over
        metrics = {
            name: gain
            for name, gain in (
                ("stopping/gain_per_kwh", verdict.gain_per_kwh),
                ("stopping/expected_gain_per_kwh", verdict.expected_gain_per_kwh),
            )
            if gain is not None
        }
        at = when or f"evaluation {self._evaluations}"
        sentence = f"stopped at {at}: {verdict.reason}{self._saved(verdict)}" if stop else ""
        what = {"event": "verdict", "name": metric, "mode": self.mode, "value": value, "at": at}
        log_to_all({**what, "stop": stop, "reason": verdict.reason, **metrics})
        return self._within_budget(Decision(stop, sentence, metrics, best), at)

    def check_budget(self, when: str = "") -> Decision:
        """Look at the budgets, within an epoch too; costs a glance at the clock unless a second has passed."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S or not self.terms.limited:
            return Decision()
        self._looked_s = now_s
        return self._within_budget(Decision(), when or "this step")

    def too_few_evaluations_warning(self, expected: int, how: str) -> str:
        """Once, what to say of a training that has too few evaluations to judge; empty otherwise.

        Args:
            expected: evaluations that it is going to have.
            how: how to have more of them in this framework.
        """
        if expected >= 2 * MIN_EVALUATIONS or "few" in self._told:
            return ""
        self._told.add("few")
        return (
            f"{expected} evaluations are too few to stop early by what they gain ({MIN_EVALUATIONS} are "
            f"needed to judge at all); evaluate more often: {how}"
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold, of numbers and lists only."""
        return {
            "rule": self._rule.state_dict() if self._rule else None,
            "first": self._first,
            "best": self._best,
            "evaluations": self._evaluations,
            "agreed": self._agreed,
            "spent_kwh": self.spent_kwh,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; what was spent until then counts."""
        if state["rule"] is not None:
            self._made().load_state_dict(state["rule"])
        self._first, self._best = state["first"], state["best"]
        self._evaluations, self._agreed = int(state["evaluations"]), int(state["agreed"])
        self._before_kwh = float(state["spent_kwh"])

    def _made(self) -> StoppingRule:
        if self._rule is None:
            self._rule = StoppingRule(Price(), self.mode or "max", ideal=self.terms.ideal)
        return self._rule

    def _note(self, value: float | None) -> bool:
        """Count an evaluation; whether it is the best so far."""
        self._evaluations += 1
        if value is None or not math.isfinite(value):
            return False
        self._first = value if self._first is None else self._first
        better = self._best is None or (value > self._best if self.mode == "max" else value < self._best)
        self._best = value if better else self._best
        return better

    def _saved(self, verdict: Verdict) -> str:
        """What stopping leaves unspent, for the sentence."""
        snapshot = self._report()
        if snapshot is None or verdict.saves_kwh <= 0:
            return ""
        saved = mass_text(snapshot.footprint_of(verdict.saves_kwh).co2e_kg.central)
        return f"; saves about {energy_text(verdict.saves_kwh)}, {saved} CO2e of what was planned"

    def _report(self) -> RunSnapshot | None:
        """The run so far, at the site of the monitor beside it unless it was given one of its own."""
        snapshot, other = self._tracker.snapshot(), None if self._sited else self._tracker.concurrent_run()
        return snapshot if snapshot is None or other is None else replace(snapshot, site=other.site)

    def _within_budget(self, decision: Decision, at: str) -> Decision:
        snapshot = self._report() if self.terms.limited else None
        excess = self.terms.excess(snapshot.footprint_of(self.spent_kwh)) if snapshot else ""
        if snapshot and not excess and self.terms.foresee and self._planned_kwh and len(self._course) >= _FORESEEN_BY:
            planned = snapshot.footprint_of(self._planned_kwh.low)
            excess = self.terms.excess(planned, "will be passed by the whole training")
        if not excess or decision.stop or excess in self._told:
            return decision
        self._told.add(excess)
        stop = self.terms.over_budget == "stop"
        log_to_all({"event": "budget", "at": at, "stop": stop, "reason": excess})
        return replace(decision, stop=stop, sentence=f"{'stopped at ' + at + ': ' if stop else ''}{excess}")
