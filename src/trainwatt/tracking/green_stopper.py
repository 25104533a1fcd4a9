"""Green early stopping of a run: rule, budgets and energy measurement, for the callbacks and for custom loops."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from trainwatt.accounting.attempts import checkpoint_state
from trainwatt.containment import Failures
from trainwatt.distributed.process_group import ALONE, ProcessGroup
from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import Footprint
from trainwatt.formatting import energy_text, mass_text
from trainwatt.projection.projection import project_from_checkpoints
from trainwatt.quantity import Quantity
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.site import Site
from trainwatt.stopping.criteria import Decision, StoppingCriteria, without_foreign
from trainwatt.stopping.limits import MetricLimits
from trainwatt.stopping.reason import StopReason
from trainwatt.stopping.rule import MIN_EVALUATIONS, StoppingRule, Verdict
from trainwatt.stopping.threshold import Mode
from trainwatt.tracking.session_registry import custom_run
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.tracker import Tracker
from trainwatt.units import J_PER_KWH

_PLACE = ("site", "zone", "cloud")
_SITE = (*_PLACE, "pue", "wue", "tariff", "carbon_intensity")
# Evaluations before the projection is trusted: the setup before the first one is not like the rest of the run.
_PREDICTIVE_FROM = 3
# The figures of the last tenths of a second are rough, which matters more the shorter the run is.
_ROUGH_S = 5.0
# Interval of the budget checks within an epoch.
_CHECK_S = 1.0


class _StopperTracker(Tracker):
    """Tracker of a stopper; no other stopper takes its place."""

    guides_stoppers = False


class GreenStopper:
    """Early stopping of a training run by the gain of its evaluations per energy.

    >>> stopper = GreenStopper("max", min_gain_per_kwh=0.5, zone="FR")  # an accuracy; half of it per kWh
    >>> with stopper:  # doctest: +SKIP
    ...     for epoch in range(100):
    ...         train()
    ...         if stopper.evaluate(accuracy(), done=(epoch + 1) / 100).stop:
    ...             break

    Args:
        mode: ``"max"`` if more of the metric is better, ``"min"`` if less; None: to be set before the first evaluation.
        criteria: see :class:`trainwatt.stopping.criteria.StoppingCriteria`. Its fields can also be given as keyword
            arguments.
        options: location and measurement, as for :func:`trainwatt.measure`.

    Raises:
        ArgumentError: names the argument, the given value and the expected one.
    """

    def __init__(self, mode: Mode | None, criteria: StoppingCriteria | None = None, **options: Any) -> None:
        options = without_foreign(options)
        given = {name: options.pop(name) for name in list(options) if name in StoppingCriteria.__slots__}
        self.criteria = replace(criteria or StoppingCriteria(), **given)
        self.mode = mode
        settings = Settings.check(output_dir=None, verbose=False, **options)
        # As arguments: the environment and files hold for a monitor as well.
        self._has_place = any(options.get(name) is not None for name in _PLACE) or settings.site.live is not None
        self._tracker: Tracker = _StopperTracker(settings)
        # those of the same training; None: the run of a custom loop, if there is one
        self._monitors: tuple[Tracker, ...] | None = None
        # a state that was loaded before the training that it is for
        self._resumed: Mapping[str, Any] = {}
        if any(options.get(name) is not None for name in _SITE):
            self._check_price(settings.site)
        self._reset()

    def _reset(self) -> None:
        self._rule: StoppingRule | None = None
        self._budget = self.criteria.budget()
        self._limits = MetricLimits(self.criteria)
        self._failures = Failures()
        self._first: float | None = None
        self._best: float | None = None
        self._evaluations = self._agreed = 0
        # the run, once it has ended
        self._ended: RunSnapshot | None = None
        self._warned_few = False
        # progress (0 to 1) and energy so far, at each evaluation
        self._checkpoints: list[tuple[float, float]] = []
        # energy of the work that the training went back on
        self._lost_kwh = 0.0
        # energy of the whole run, if it runs to the end
        self._planned_kwh: Quantity | None = None
        self._checked_s = -math.inf
        self._began_s = time.monotonic()

    def start(
        self,
        trains_on: Iterable[object] | None = None,
        processes: ProcessGroup = ALONE,
        *,
        monitors: Iterable[Tracker] | None = None,
    ) -> None:
        """Start a training run, and discard the state of an earlier one.

        Args:
            trains_on: devices that the run computes on, as for :meth:`trainwatt.Tracker.start`; None if unknown.
            processes: process group of a distributed job. All its processes must call this method together. Rank 0
                judges.
            monitors: those of the same training, running or not. Their place is the stopper's, and verdicts are in
                their run folders. None: a custom loop, whose run of :func:`trainwatt.measure` counts.

        Raises:
            ArgumentError: a monitor was given another place or factor, or there is a cost budget without a price.
        """
        self._monitors = None if monitors is None else tuple(monitors)
        self._check_site([monitor.site for monitor in self._companions()])
        self._reset()
        self._tracker.start(trains_on=trains_on, processes=processes)
        resumed, self._resumed = self._resumed, {}
        if resumed:
            self._restore(resumed)

    def _companions(self) -> Sequence[Tracker]:
        """Return the monitors of the same training."""
        if self._monitors is not None:
            return self._monitors
        own = custom_run(self._tracker)
        return (own,) if own is not None else ()

    def _check_site(self, sites: Sequence[Site]) -> None:
        """Check that no monitor was given another place or factor, and that a cost budget has a price."""
        for site in sites:
            found = self._site_beside(site).contradiction(site)
            if found is not None:
                expected = f"{found.other}, as for the monitor of the same training, or nothing, to take the monitor's"
                raise ArgumentError(found.argument, found.value, expected)
        self._check_price(self._site_beside(sites[0]) if sites else self._tracker.site)

    def _site_beside(self, monitored: Site) -> Site:
        """Return the site of the training: the stopper's own, else the monitor's with the stopper's own factors."""
        own = self._tracker.site
        return own if self._has_place else monitored.with_arguments_of(own)

    def _check_price(self, site: Site) -> None:
        if self.criteria.max_cost is not None and site.price is None:
            expected = f"tariff= as well, because no electricity price of {site.name} is known"
            raise ArgumentError("max_cost", self.criteria.max_cost, expected)

    def exchange(self) -> None:
        """Aggregate the energy of all processes of the job. All must call this before rank 0 judges."""
        self._tracker.exchange()

    def agree(self, stop: bool) -> bool:
        """Return the decision of rank 0 on every rank. All processes of the job must call this after an evaluation.

        Args:
            stop: decision of this process; only that of rank 0 matters.
        """
        return self._tracker.agree(stop)

    def share(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values of rank 0 on every rank. All processes of the job must call this.

        Args:
            values: those of this rank; only those of rank 0 matter.
        """
        return self._tracker.share(values)

    def stop(self) -> None:
        """End the training run. `spent_kwh` keeps its energy."""
        snapshot = self._tracker.stop()
        self._ended = self._placed(snapshot) if snapshot else self._ended
        self._monitors = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy holds: history and figures so far, without the measuring and the monitors."""
        ended = self._failures.result("the figures of a copy", self._report, self._ended)
        return vars(self) | {"_ended": ended, "_monitors": None}

    def __enter__(self) -> GreenStopper:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def spent_kwh(self) -> float:
        """Energy so far, earlier attempts of a resumed run included."""
        snapshot = self._tracker.snapshot() or self._ended
        return snapshot.energy_kwh.central if snapshot else 0.0

    def evaluate(
        self,
        value: float | None,
        *,
        done: float | None = None,
        when: str = "",
        remaining_lr: Sequence[float] | None = None,
        metric: str = "",
        may_stop: bool = True,
    ) -> Decision:
        """Record an evaluation, and decide whether to stop.

        Args:
            value: the metric; None, NaN or infinite if the evaluation failed.
            done: progress of the planned run, 0 to 1; None if unknown.
            when: position in the run for the message, e.g. ``"epoch 23"``.
            remaining_lr: learning rates from now to the end of the plan, evenly spaced; None if unknown.
            metric: name of the metric, for the run folder.
            may_stop: False: only a budget may stop the run here, as during the warm-up.
        """
        return self._failures.result(
            "green early stopping",
            lambda: self._evaluate(value, done, when, remaining_lr, metric, may_stop=may_stop),
            Decision(),
            "this evaluation stops nothing",
        )

    def _evaluate(
        self,
        value: float | None,
        done: float | None,
        when: str,
        remaining_lr: Sequence[float] | None,
        metric: str,
        *,
        may_stop: bool,
    ) -> Decision:
        spent_kwh = self._current_kwh()
        best = self._record(value)
        self._project(done, spent_kwh)
        verdict = self._updated_rule().update(
            value,
            spent_kwh,
            planned_kwh=self._planned_kwh.central if self._planned_kwh else None,
            remaining_lr=remaining_lr,
        )
        at = when or f"evaluation {self._evaluations}"
        may_stop = may_stop and self._evaluations > self.criteria.warmup and not (done is not None and done >= 1)
        decision = self._decide(verdict, at, may_stop=may_stop)
        if may_stop and not decision.stop:
            decision = self._limited(decision, value, at, best=best)
        decision = replace(decision, best=best)
        event = {"event": "verdict", "name": metric, "mode": self.mode, "value": value, "at": at}
        self._log({**event, **_stop_fields(decision), "reason": verdict.reason, **decision.metrics})
        return self._within_budget(decision, at)

    def check_budget(self, when: str = "") -> Decision:
        """Check the budgets within an epoch. Calls within a second of the last check return at once.

        Args:
            when: position in the run for the message, e.g. ``"step 7"``.
        """
        now_s = time.monotonic()
        if now_s - self._checked_s < _CHECK_S or not self._budget.is_limited:
            return Decision()
        self._checked_s = now_s
        at = when or "this step"
        return self._failures.result("a budget check", lambda: self._within_budget(Decision(), at), Decision())

    def _log(self, event: Mapping[str, Any]) -> None:
        """Log an event to the run folders of the same training."""
        for monitor in self._companions():
            monitor.log_stopping(event)

    def too_few_evaluations_warning(self, expected: int, how: str) -> str:
        """Return a warning if a run has too few evaluations to be judged; empty otherwise, and after the first time.

        Args:
            expected: number of evaluations that the run is going to have.
            how: advice on how to evaluate more often in this framework.
        """
        if expected >= 2 * MIN_EVALUATIONS or self._warned_few:
            return ""
        self._warned_few = True
        return (
            f"{expected} evaluations are too few to stop early by what they gain ({MIN_EVALUATIONS} are "
            f"needed to judge at all); evaluate more often: {how}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, made of numbers, strings, lists and dictionaries."""
        report = self._report()
        return {
            "rule": self._rule.state_dict() if self._rule else None,
            "first": self._first,
            "best": self._best,
            "evaluations": self._evaluations,
            "agreed": self._agreed,
            "waited": self._limits.waited,
            "spent_kwh": self.spent_kwh,
            "run": checkpoint_state(report.summary(), None) if report else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned, now or with the next run.

        The energy spent until then is included, unless it is of this run: a training that goes back to a checkpoint of
        its own has spent what it has spent. A state that cannot be parsed costs a warning.
        """
        if not self._tracker.running:
            self._resumed = dict(state) if isinstance(state, Mapping) else state
        self._restore(state)

    def _restore(self, state: Mapping[str, Any]) -> None:
        with self._failures.contained("the checkpoint's history of evaluations", "judging starts from zero"):
            parsed = _History.parse(state)
            if parsed.rule is not None:
                self._get_rule().load_state_dict(parsed.rule)
            self._first, self._best = parsed.first, parsed.best
            self._evaluations, self._agreed, self._limits.waited = parsed.evaluations, parsed.agreed, parsed.waited
            if self._tracker.running:
                self._tracker.load_state_dict(parsed.run)

    def _current_kwh(self) -> float:
        """Return the energy so far. Wait for exact figures if the run has only just begun."""
        is_young = not self._evaluations and time.monotonic() - self._began_s < _ROUGH_S
        if is_young or not self.spent_kwh:
            self._tracker.wait_until_settled()
        return self.spent_kwh

    def _record(self, value: float | None) -> bool:
        """Count an evaluation, and return True if it is the best so far."""
        self._evaluations += 1
        if value is None or not math.isfinite(value):
            return False
        self._first = value if self._first is None else self._first
        better = self._best is None or (value > self._best if self.mode == "max" else value < self._best)
        self._best = value if better else self._best
        return better

    def _project(self, done: float | None, spent_kwh: float) -> None:
        """Update the projected energy of the whole run, if its progress is known."""
        if not done:
            return
        if self._checkpoints and done < self._checkpoints[-1][0]:
            # the training went back: what it repeats has cost as much as before, and the rest is lost
            part, kwh = self._checkpoints[-1]
            self._lost_kwh = max(0.0, spent_kwh - kwh * done / part)
            self._checkpoints = [each for each in self._checkpoints if each[0] < done]
        useful_kwh = spent_kwh - self._lost_kwh
        # earlier figures cannot exceed the current one, so they were too high
        earlier = [(part, min(kwh, useful_kwh)) for part, kwh in self._checkpoints]
        self._checkpoints = [*earlier, (done, useful_kwh)]
        planned = project_from_checkpoints(self._checkpoints)
        self._planned_kwh = planned and planned.plus(Quantity(self._lost_kwh, self._lost_kwh, self._lost_kwh))

    def _get_rule(self) -> StoppingRule:
        if self._rule is None:
            mode = self.mode or "max"
            # of any scale, until the first finite value shows it: a metric may be NaN from the beginning
            self._rule = StoppingRule(self.criteria.threshold(mode, 1.0, 1.0), mode, ideal=self.criteria.ideal)
        return self._rule

    def _updated_rule(self) -> StoppingRule:
        """Return the rule, with the threshold for the scale of the metric as known now."""
        rule = self._get_rule()
        if self._first is not None and self._best is not None:
            rule.threshold = self.criteria.threshold(rule.mode, self._first, self._best)
        return rule

    def _decide(self, verdict: Verdict, at: str, *, may_stop: bool) -> Decision:
        """Apply patience to a verdict."""
        stop = verdict.stop and not (verdict.diverged and self.criteria.check_finite is False)
        self._agreed = self._agreed + 1 if stop else 0
        decision = Decision(metrics=_metrics(verdict), diverged=verdict.diverged, cool_down=verdict.cool_down)
        if not may_stop or self._agreed <= self.criteria.patience:
            return decision
        reason = StopReason.DIVERGED if verdict.diverged else StopReason.TREND
        sentence = f"stopped at {at}: {verdict.reason}{self._savings_text(verdict)}"
        return replace(decision, stop=True, sentence=sentence, reason=reason)

    def _limited(self, decision: Decision, value: float | None, at: str, *, best: bool) -> Decision:
        """Return the decision, or that to stop if the metric has reached a limit of its own."""
        reached = self._limits.check(value, self._get_rule().mode, self._best, improved=best)
        if reached is None:
            return decision
        diverged = reached.reason is StopReason.DIVERGED
        sentence = f"stopped at {at}: {reached.sentence}"
        return replace(decision, stop=True, sentence=sentence, reason=reached.reason, diverged=diverged)

    def _savings_text(self, verdict: Verdict) -> str:
        snapshot = self._report()
        if snapshot is None or verdict.saves_kwh <= 0:
            return ""
        saved = mass_text(snapshot.footprint_of(verdict.saves_kwh).co2e_kg.central)
        return f"; saves about {energy_text(verdict.saves_kwh)}, {saved} CO2e of what was planned"

    def _report(self) -> RunSnapshot | None:
        """Return the run so far, or as it ended."""
        snapshot = self._tracker.snapshot()
        return self._placed(snapshot) if snapshot else self._ended

    def _placed(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Return a snapshot at its site. Without a place of its own, that is the monitor's, with its live intensity."""
        if self._has_place:
            return snapshot
        for monitor in self._companions():
            running = monitor.snapshot()
            return replace(snapshot, site=self._site_beside(running.site if running else monitor.site))
        return snapshot

    def _within_budget(self, decision: Decision, at: str) -> Decision:
        """Return the decision; if it does not stop and a budget is exceeded, return what follows from that."""
        snapshot = None if decision.stop or not self._budget.is_limited else self._report()
        excess = snapshot and self._budget.check(snapshot.footprint, self._predicted(snapshot))
        if not excess:
            return decision
        if self.criteria.over_budget == "stop":
            sentence = f"stopped at {at}: {excess.sentence}"
            decision = replace(decision, stop=True, sentence=sentence, reason=excess.reason)
        elif excess.is_news:
            decision = replace(decision, sentence=excess.sentence)
        if excess.is_news:
            self._log({"event": "budget", "at": at, **_stop_fields(decision), "reason": excess.sentence})
        return decision

    def _predicted(self, snapshot: RunSnapshot) -> Footprint | None:
        """Return the lower bound for the footprint of the whole run, if budgets are to be applied to it."""
        if not self.criteria.predictive or not self._planned_kwh or len(self._checkpoints) < _PREDICTIVE_FROM:
            return None
        least_kwh = self._planned_kwh.low
        return snapshot.footprint_of_whole(Quantity(least_kwh, least_kwh, least_kwh))


class _History(NamedTuple):
    """Checked content of a checkpoint."""

    rule: Mapping[str, Any] | None
    first: float | None
    best: float | None
    evaluations: int
    agreed: int
    waited: int
    run: Mapping[str, Any]

    @classmethod
    def parse(cls, state: Mapping[str, Any]) -> _History:
        """Check a state as a whole, before anything is restored.

        Raises:
            DamagedError: it is not of `GreenStopper.state_dict`. The message names the field.
        """
        # Few runs are resumed.
        from trainwatt.schema import checkpoint  # noqa: PLC0415

        checked = checkpoint.stopper(state)
        run = checked["run"] if "run" in checked else _older_run(checked["spent_kwh"])
        return cls(**{name: checked[name] for name in cls._fields if name != "run"}, run=run)


def _older_run(spent_kwh: float) -> dict[str, Any]:
    """Return the state of a run of which only the energy is known: version 0.1 wrote no more."""
    spent_j = spent_kwh * J_PER_KWH
    span = {"seconds": 0.0, "entries": 0, "steps": 0, "joules": {"earlier attempts": spent_j}}
    run = {"run": "earlier attempts", "began": "", "status": "interrupted", "seconds": 0.0, "total_j": spent_j}
    return {**run, "phases": {"other": span}, "devices": [], "attempts": [run]}


def _metrics(verdict: Verdict) -> dict[str, float]:
    """Return the values of a verdict for the framework's logger, without those that are unknown."""
    gains = {
        "stopping/gain_per_kwh": verdict.gain_per_kwh,
        "stopping/expected_gain_per_kwh": verdict.expected_gain_per_kwh,
    }
    return {name: gain for name, gain in gains.items() if gain is not None}


def _stop_fields(decision: Decision) -> dict[str, Any]:
    """Return the fields of an event that describe whether and why the run stops."""
    return {"stop": decision.stop, "stop_reason": decision.reason.value if decision.reason else None}
