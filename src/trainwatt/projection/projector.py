"""When a run is projected, from what, and when that is told."""

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

_RECENT_EPOCHS = 24  # that a projection looks at
_BEGINNING: tuple[Phase, ...] = ("train", "validate")  # of which the first epoch is told apart
_EVERY_S = 1.0  # a projection takes up to a millisecond
_FIRST_STEPS, _FIRST_PART = 50, 0.01  # of a run that may end within its first epoch


class _Warmup(NamedTuple):
    """The first epoch of a phase, as it was when it was looked at."""

    told: WarmupEstimate
    epoch: int
    closed: bool
    settled: bool

    def is_stale(self, ledger: Ledger) -> bool:
        return not self.settled and (not self.closed or self.epoch < ledger.settled_epoch)


class Projector:
    """Projects one run, once that is due.

    Args:
        after: the first epoch, a number of steps, or None for never.

    Attributes:
        due_step: the number of steps at which the first projection is due within an epoch; infinite where it is not.
        latest: the latest projection.
    """

    def __init__(self, after: int | Literal["epoch"] | None) -> None:
        self.due_step: float = math.inf
        self.latest: Projection | None = None
        self._after = after
        self._plan: Plan | None = None
        self._due = False
        self._told: Projection | None = None
        self._closed: deque[int] = deque(maxlen=_RECENT_EPOCHS)
        self._settled: dict[int, dict[Phase, Span]] = {}
        self._warmup: dict[Phase, _Warmup] = {}
        self._epochs = self._steps = 0
        self._latest_s = -math.inf

    @property
    def again_s(self) -> float:
        """Until when, on the ledger's clock, a projection within an epoch is as good as new."""
        return self._latest_s + _EVERY_S

    @property
    def begins(self) -> bool:
        """Whether there is something to project, and nothing has been yet."""
        return self._plan is not None and self._after is not None and self.latest is None

    def plan(self, plan: Plan) -> None:
        """What is to come; it may be told again when more is known."""
        self._plan = plan
        total = plan.total_steps()
        if self._due:
            return
        if isinstance(self._after, int):
            self.due_step = self._after
        elif self._after == "epoch" and plan.one_epoch and total:
            self.due_step = max(_FIRST_STEPS, math.ceil(_FIRST_PART * total))

    def step_is_due(self) -> None:
        """The steps have been made after which the first projection is due."""
        self.due_step, self._due = math.inf, True

    def end_epoch(self, epoch: int, phases: Mapping[Phase, Span]) -> None:
        """Take note of a closed epoch.

        Args:
            epoch: its number.
            phases: the run up to its end, by phase, without earlier attempts.
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
        """Project the whole run; None before that is due, or if it cannot be known.

        Args:
            phases: the run so far, by phase, without earlier attempts.
            prior: the earlier attempts.
            ledger: of the same run.
            unbooked: the spans that the ledger has not booked yet.
            now_s: on the ledger's clock.
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
        """Whether it is the first, or has left the interval of the one that was news before."""
        before, central = self._told, projection.energy_kwh.central
        if before is not None and before.energy_kwh.low <= central <= before.energy_kwh.high:
            return False
        self._told = projection
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
        return (
            replace(history, warmup=self._warmups(history.phases, ledger, now_s)) if history.needs_warmup else history
        )

    def _warmups(self, seen: Container[Phase], ledger: Ledger, now_s: float) -> dict[Phase, WarmupEstimate]:
        """Of the phases that are projected; of a closed epoch only once more, when its figures are settled."""
        known = self._warmup
        stale = [each for each in _BEGINNING if each in seen and (each not in known or known[each].is_stale(ledger))]
        blocks = ledger.blocks(now_s) if stale else []
        for phase in stale:
            if first := first_epoch(blocks, phase):
                epoch = first[0].key.epoch
                self._warmup[phase] = _Warmup(
                    estimate_warmup(first), epoch, epoch < ledger.epoch, epoch < ledger.settled_epoch
                )
        return {phase: warmup.told for phase, warmup in self._warmup.items()}

    def _epoch(self, epoch: int, ledger: Ledger, unbooked: Sequence[tuple[SpanKey, Span]]) -> dict[Phase, Span]:
        """The spans of a closed epoch, which are added up only once when they are settled."""
        phases = self._settled.get(epoch)
        if phases is None:
            phases = merged([*ledger.timeline.epoch(epoch), *(each for each in unbooked if each[0].epoch == epoch)])
            if epoch < ledger.settled_epoch:
                self._settled[epoch] = phases
        if len(self._settled) > _RECENT_EPOCHS:
            del self._settled[min(self._settled)]
        return phases
