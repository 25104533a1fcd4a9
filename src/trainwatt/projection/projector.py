"""Schedule of a run's projections, and the figures they are made from."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from trainwatt.accounting.attempts import PriorAttempts
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.step_profile import first_epoch
from trainwatt.accounting.timeline import Phase, Span, SpanKey, merged
from trainwatt.projection.plan import Plan
from trainwatt.projection.projection import History, Projection, project
from trainwatt.projection.warmup import WarmupEstimate, estimate_warmup

# Number of latest epochs that a projection uses.
_RECENT_EPOCHS = 24
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
        self._closed: deque[int] = deque(maxlen=_RECENT_EPOCHS)
        self._final_epochs: dict[int, dict[Phase, Span]] = {}
        self._warmups: dict[Phase, _Warmup] = {}
        self._epochs = self._steps = 0
        self._latest_s = -math.inf

    @property
    def again_s(self) -> float:
        """Earliest time of the next projection within an epoch, on the ledger's clock."""
        return self._latest_s + _EVERY_S

    @property
    def begins(self) -> bool:
        """True if the run can be projected, and has not been yet."""
        return self._plan is not None and self._after is not None and self.latest is None

    def plan(self, plan: Plan) -> None:
        """Set the plan of the run. It may be set again once more is known."""
        self._plan = plan
        total = plan.total_steps()
        if self._due:
            return
        if isinstance(self._after, int):
            self.due_step = self._after
        elif self._after == "epoch" and plan.one_epoch and total:
            self.due_step = max(_FIRST_STEPS, math.ceil(_FIRST_PART * total))

    def step_is_due(self) -> None:
        """Note that the first projection is due after the current step."""
        self.due_step, self._due = math.inf, True

    def end_epoch(self, epoch: int, phases: Mapping[Phase, Span]) -> None:
        """Record a completed epoch.

        Args:
            epoch: its number.
            phases: totals of the run up to its end, by phase, without earlier attempts.
        """
        self._closed.append(epoch)
        self._epochs += 1
        self._steps = phases["train"].steps if "train" in phases else 0
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
            The projection, earlier attempts included; None before one is due, or if the plan has no known end.
        """
        if self._plan is None or not self._due:
            return None
        self._latest_s = now_s
        projection = project(self._history(phases, ledger, unbooked, now_s), self._plan)
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
            else False. If it is not False, the projection counts as announced.
        """
        before, central = self._announced, projection.energy_kwh.central
        if before is not None and before.energy_kwh.low <= central <= before.energy_kwh.high:
            return False
        self._announced = projection
        return "first" if before is None else "again"

    def _history(
        self,
        phases: Mapping[Phase, Span],
        ledger: Ledger,
        unbooked: Sequence[tuple[SpanKey, Span]],
        now_s: float,
    ) -> History:
        epochs = [self._epoch(epoch, ledger, unbooked) for epoch in self._closed]
        history = History(phases, epochs, self._epochs, self._steps)
        if not history.needs_warmup:
            return history
        return replace(history, warmup=self._updated_warmups(history.phases, ledger, now_s))

    def _updated_warmups(self, seen: Container[Phase], ledger: Ledger, now_s: float) -> dict[Phase, WarmupEstimate]:
        """Return the warm-up of each phase. After its first epoch, update it only once: when its figures are final."""
        known = self._warmups
        stale = [
            phase for phase in _WARMUP_PHASES if phase in seen and (phase not in known or known[phase].is_stale(ledger))
        ]
        blocks = ledger.blocks(now_s) if stale else []
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
        if len(self._final_epochs) > _RECENT_EPOCHS:
            del self._final_epochs[min(self._final_epochs)]
        return phases
