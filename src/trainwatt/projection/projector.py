"""Schedule of a run's projections, and the figures they are made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from trainwatt.accounting.attempts import PriorAttempts
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.step_profile import first_epoch
from trainwatt.accounting.timeline import Phase, Span, SpanKey, merged
from trainwatt.projection.loop import RECENT_EPOCHS, Loop, train_steps
from trainwatt.projection.plan import Plan
from trainwatt.projection.projection import History, Projection, project, resemble
from trainwatt.projection.warmup import WarmupEstimate, estimate_warmup

# Phases whose warm-up in the first epoch is estimated.
_WARMUP_PHASES: tuple[Phase, ...] = ("train", "validate")
# Interval of the projections within an epoch, each of which takes up to a millisecond.
_EVERY_S = 1.0
# Steps, and share of the run, before the first projection of a run that may end within its first epoch.
_FIRST_STEPS, _FIRST_PART = 50, 0.01


class _Warmup(NamedTuple):
    """Warm-up estimate of a phase, and the state of its first epoch at that time."""

    estimate: WarmupEstimate
    epoch: int
    closed: bool
    final: bool

    def is_stale(self, ledger: Ledger) -> bool:
        return not self.final and (not self.closed or self.epoch < ledger.settled_epoch)


class Projector:
    """Projections of one run, from the moment the first one is due.

    Args:
        after: ``"epoch"`` for the end of the first epoch, a number of steps, or None for never.

    Attributes:
        due_step: number of steps after which the first projection is due within an epoch; infinite if none is.
        latest: the latest projection; None if there is none yet.
    """

    def __init__(self, after: int | Literal["epoch"] | None) -> None:
        self.due_step: float = math.inf
        self.latest: Projection | None = None
        self._after = after
        self._plan: Plan | None = None
        self._due = False
        self._announced: Projection | None = None
        self._announced_loop: Loop | None = None
        self._loop = Loop()
        # The loop before, and the latest epochs of all loops before.
        self._before: Loop | None = None
        self._experience: list[int] = []
        self._final_epochs: dict[int, dict[Phase, Span]] = {}
        self._warmups: dict[Phase, _Warmup] = {}
        self._epochs = 0
        self._latest_s = -math.inf

    @property
    def again_s(self) -> float:
        """Earliest time of the next projection within an epoch, on the ledger's clock."""
        return self._latest_s + _EVERY_S

    @property
    def begins(self) -> bool:
        """True if the run can be projected, and has not been yet."""
        return self._plan is not None and self._after is not None and self.latest is None

    @property
    def is_last_epoch(self) -> bool:
        """True if no epoch of the plan follows the present one, as far as is known."""
        if self._plan is None or self._plan.epochs is None:
            return False
        # The end of one of several loops is not likely to be that of the run.
        return self._before is None and self._loop.epochs - self._loop.repeated_epochs + 1 >= self._plan.epochs

    def plan(self, plan: Plan) -> None:
        """Set the plan of the present loop, counted from its beginning. It may be set again once more is known."""
        self._plan = plan
        total = plan.total_steps()
        if self._due:
            return
        if isinstance(self._after, int):
            self.due_step = self._after
        elif self._after == "epoch" and plan.one_epoch and total:
            self.due_step = max(_FIRST_STEPS, math.ceil(_FIRST_PART * total))

    def begin_loop(self, epoch: int, phases: Mapping[Phase, Span]) -> None:
        """Begin a loop of epochs with a plan of its own, unless the first one has not begun to train yet.

        Args:
            epoch: index of its first epoch.
            phases: totals of the run so far, by phase, without earlier attempts.
        """
        if "train" not in phases and not self._epochs:
            return
        # The first epoch of a loop has a warm-up.
        known = list(self._loop.closed)
        later = known[1:] if self._loop.epochs == len(known) > 1 else known
        self._experience = [*self._experience, *later][-RECENT_EPOCHS:]
        self._before, self._loop, self._warmups = self._loop, Loop(epoch, phases), {}
        self._plan = None

    def begin_epoch(self, number: int, phases: Callable[[], Mapping[Phase, Span]]) -> None:
        """Note the user's number of an epoch that begins: if it goes back, work is repeated.

        Args:
            number: the number.
            phases: gives the totals of the run so far, by phase, without earlier attempts.
        """
        self._loop.begin_epoch(number, lambda: train_steps(self._loop.own(phases())))

    def step_is_due(self) -> None:
        """Note that the first projection is due after the current step."""
        self.due_step, self._due = math.inf, True

    def end_epoch(self, epoch: int, phases: Mapping[Phase, Span]) -> None:
        """Record a completed epoch.

        Args:
            epoch: its index.
            phases: totals of the run up to its end, by phase, without earlier attempts.
        """
        self._loop.end_epoch(epoch, phases)
        self._epochs += 1
        self._due |= self._after == "epoch"

    def project(
        self,
        phases: Mapping[Phase, Span],
        prior: PriorAttempts,
        ledger: Ledger,
        unbooked: Sequence[tuple[SpanKey, Span]],
        now_s: float,
    ) -> Projection | None:
        """Project the whole run.

        Args:
            phases: totals of the run so far, by phase, without earlier attempts.
            prior: earlier attempts of the run.
            ledger: energy ledger of the run.
            unbooked: spans that the ledger has not booked yet.
            now_s: current time on the ledger's clock.

        Returns:
            The projection of all that was measured and of the rest of this loop, earlier attempts included; None before
            one is due, or if the plan has no known end.
        """
        if self._plan is None or not self._due:
            return None
        self._latest_s = now_s
        projection = project(self._history(phases, ledger, unbooked, now_s), self._plan)
        if projection:
            steps = train_steps(phases)
            projection = replace(projection.after(self._loop.before), epochs=self._epochs, steps=steps)
        if projection and prior.attempts:
            projection = projection.after(prior.phases)
        self.latest = projection or self.latest
        return projection

    def is_news(self, projection: Projection) -> Literal["first", "again", False]:
        """Compare a projection with the last announced one.

        Args:
            projection: the projection.

        Returns:
            "first" if none was announced before, "again" if it lies outside the interval of the last announced one,
            else False. If it is not False, the projection counts as announced. The first projection of a further loop
            is no news: that there is more to do is known to whoever wrote the loop.
        """
        before, central = self._announced, projection.energy_kwh.central
        is_further_loop, self._announced_loop = self._announced_loop is not self._loop, self._loop
        if before is not None and before.energy_kwh.low <= central <= before.energy_kwh.high:
            return False
        self._announced = projection
        if before is None:
            return "first"
        return False if is_further_loop else "again"

    def _history(
        self,
        phases: Mapping[Phase, Span],
        ledger: Ledger,
        unbooked: Sequence[tuple[SpanKey, Span]],
        now_s: float,
    ) -> History:
        loop = self._loop
        epochs = [self._epoch(epoch, ledger, unbooked) for epoch in loop.closed]
        history = History(
            loop.own(phases),
            epochs,
            loop.epochs,
            loop.steps,
            repeated_epochs=loop.repeated_epochs,
            repeated_steps=loop.repeated_steps,
            experience=self._experience_like(epochs, ledger, unbooked),
        )
        if not history.needs_warmup:
            return history
        return replace(history, warmup=self._updated_warmups(history.phases, ledger, now_s))

    def _experience_like(
        self, epochs: Sequence[Mapping[Phase, Span]], ledger: Ledger, unbooked: Sequence[tuple[SpanKey, Span]]
    ) -> list[Mapping[Phase, Span]]:
        """Return the latest epochs of earlier loops, if those of this one resemble them or there are none yet.

        Args:
            epochs: latest completed epochs of this loop.
            ledger: energy ledger of the run.
            unbooked: spans that the ledger has not booked yet.
        """
        taken = self._experience[len(epochs) - RECENT_EPOCHS :] if len(epochs) < RECENT_EPOCHS else []
        known = (self._epoch(epoch, ledger, unbooked) for epoch in taken)
        before: list[Mapping[Phase, Span]] = [epoch for epoch in known if "train" in epoch]
        own = [epoch for epoch in epochs if "train" in epoch]
        if not before or not own:
            return before
        # The first epochs of two loops both contain a warm-up.
        first = self._before.first_closed if self._before and len(own) == 1 else None
        alike = first is not None and resemble(own, [self._epoch(first, ledger, unbooked)])
        return before if alike or resemble(own[1:] or own, before) else []

    def _updated_warmups(self, seen: Container[Phase], ledger: Ledger, now_s: float) -> dict[Phase, WarmupEstimate]:
        """Return the warm-up of each phase. After its first epoch, update it only once: when its figures are final."""
        known = self._warmups
        stale = [
            phase for phase in _WARMUP_PHASES if phase in seen and (phase not in known or known[phase].is_stale(ledger))
        ]
        first_epoch_of_loop = self._loop.first
        blocks = [block for block in ledger.blocks(now_s) if block.key.epoch >= first_epoch_of_loop] if stale else []
        for phase in stale:
            if first := first_epoch(blocks, phase):
                epoch = first[0].key.epoch
                known[phase] = _Warmup(
                    estimate_warmup(first), epoch, epoch < ledger.epoch, epoch < ledger.settled_epoch
                )
        return {phase: warmup.estimate for phase, warmup in known.items()}

    def _epoch(self, epoch: int, ledger: Ledger, unbooked: Sequence[tuple[SpanKey, Span]]) -> dict[Phase, Span]:
        """Return the totals of a completed epoch, by phase. They are kept once they are final."""
        phases = self._final_epochs.get(epoch)
        if phases is None:
            phases = merged([*ledger.timeline.epoch(epoch), *(each for each in unbooked if each[0].epoch == epoch)])
            if epoch < ledger.settled_epoch:
                self._final_epochs[epoch] = phases
        if len(self._final_epochs) > 2 * RECENT_EPOCHS:
            del self._final_epochs[min(self._final_epochs)]
        return phases
