"""Ledger that turns timestamped marks into spans of energy."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from trainwatt.accounting.epoch_index import EpochIndex, EpochLabel
from trainwatt.accounting.phase_stacks import Active, PhaseStacks
from trainwatt.accounting.power_history import PowerHistory
from trainwatt.accounting.step_profile import BatchMarks, Block, StepProfile
from trainwatt.accounting.timeline import Phase, Span, SpanKey, Timeline, merged, total_of

# Shown excess over the final energy that is kept: a small part of it, and three updates of a counter, over which the
# energy may have been extrapolated.
_KEPT, _KEPT_S = 0.01, 0.3


class EnergySource(Protocol):
    """Protocol of a source of cumulative joules, e.g. a subscription to a sampler."""

    def joules_at(self, time_s: float) -> dict[str, float]:
        """Return cumulative joules by device id at a time."""
        ...


@dataclass(slots=True)
class _Mark:
    """Change of phase or of part at a time.

    Attributes:
        time_s: time from which the phase holds.
        key: epoch and phase from then on.
        steps: steps of the whole run up to this mark.
        entries: 1 if the phase begins here, 0 if it continues.
        label: name of the part from then on; empty if there is none.
        label_entries: 1 if the part begins here, 0 if it continues.
    """

    time_s: float
    key: SpanKey
    steps: int
    entries: int = 0
    label: str = ""
    label_entries: int = 0

    def complete(self, span: Span, steps: int) -> Span:
        """Add to a span of energy what is known from this mark, the entries only once."""
        span.steps = steps
        span.entries, self.entries = self.entries, 0
        entries, self.label_entries = self.label_entries, 0
        return span.labelled(self.label, entries)


class Ledger:
    """Ledger that books every joule between its first and last mark to exactly one phase of one epoch.

    Marks are timestamps. Their energy is booked once the readings for that time are final. Cumulative joules are read
    once at each mark and used for both sides of it, so spans add up exactly.

    Args:
        source: cumulative joules by device.
        time_s: begin of the run.
    """

    def __init__(self, source: EnergySource, time_s: float) -> None:
        self.timeline = Timeline()
        self.power = PowerHistory()
        self.begin_s = self.booked_s = time_s
        # Infinite until `close`.
        self.end_s = math.inf
        self.steps = 0
        self._source = source
        self._profile = StepProfile()
        self._marks_of_batches = BatchMarks()
        self._entered: set[Phase] = set()
        # None until the first readings are final.
        self._booked_j: dict[str, float] | None = None
        self._stacks = PhaseStacks()
        self._epochs = EpochIndex()
        self._marks = deque([_Mark(time_s, SpanKey(0, "other"), 0, 1)])
        self._bookmark = self._marks[0]
        # The run by phase up to the bookmark, once that is booked.
        self._before_bookmark: dict[Phase, Span] | None = {}
        self._shown_j: dict[str, float] = {}

    @property
    def epoch(self) -> int:
        """Index of the open epoch, counted from 0 whatever numbers the user gives."""
        return self._epochs.current

    @property
    def epoch_label(self) -> EpochLabel:
        """The user's number of the open epoch."""
        return self._epochs.label(self.epoch)

    @property
    def booked_j(self) -> float:
        """Joules booked so far."""
        return sum(span.total_j for _, span in self.timeline.phases())

    @property
    def settled_epoch(self) -> int:
        """First epoch that is not fully booked; all earlier ones are."""
        return self._marks[0].key.epoch

    def begin(self, phase: Phase, time_s: float, epoch: int | None = None) -> None:
        """Enter a phase in this thread; phases nest, and energy is booked to the innermost one.

        Args:
            phase: the phase.
            time_s: now.
            epoch: the user's number of the epoch, if this begins one.
        """
        if epoch is not None:
            self._epochs.begin(epoch, phase)
        self._stacks.enter(phase)
        self._mark(time_s, entries=1)
        if phase not in self._entered:
            self._entered.add(phase)
            self._marks_of_batches.refresh(time_s)

    def end(self, phase: Phase, time_s: float) -> None:
        """Leave a phase and any phases open inside it; ignored if this thread has not entered it."""
        if self._stacks.leave(phase):
            self._mark(time_s)

    def begin_part(self, name: str, time_s: float) -> str:
        """Name what follows in this thread; see :class:`trainwatt.accounting.phase_stacks.PhaseStacks`.

        Args:
            name: name of the part.
            time_s: now.

        Returns:
            The name under which it is counted, for :meth:`end_part`.
        """
        label = self._stacks.enter_part(name)
        self._mark_part(time_s, self._stacks.active, entered=label)
        return label

    def end_part(self, label: str, time_s: float) -> None:
        """End a part; ignored if this thread has not entered it."""
        if self._stacks.leave_part(label):
            self._mark_part(time_s, self._stacks.active)

    def step(self, count: int, time_s: float) -> None:
        """Count completed steps."""
        self.steps += count
        # Inlined from `batch` to save a call per step.
        marks = self._marks_of_batches
        marks.made += count
        if time_s >= marks.due_s:
            marks.mark(time_s)

    def batch(self, count: int, time_s: float) -> None:
        """Count completed evaluation batches; with 0, mark the end of something other than a step."""
        marks = self._marks_of_batches
        marks.made += count
        if time_s >= marks.due_s or not count:
            marks.mark(time_s)

    def end_epoch(self, time_s: float) -> int:
        """Close the open epoch and return its index; later energy belongs to the next epoch."""
        closed = self._epochs.close()
        self._mark(time_s)
        return closed

    def begin_loop(self, time_s: float) -> None:
        """Let the numbers of epochs start again; an epoch that was begun and not ended is left as it is."""
        self._epochs.begin_loop()
        self._mark(time_s)

    def take_epochs(self, before: int) -> list[tuple[EpochLabel, SpanKey, Span]]:
        """Return the spans of all epochs before one that is still open, each epoch once.

        Args:
            before: index of the open epoch.
        """
        taken = [(self._epochs.label(key.epoch), key, span) for key, span in self.timeline.take(before)]
        self._epochs.drop_before(before)
        return taken

    def add_before(self, key: SpanKey, span: Span) -> None:
        """Add what was drawn before the run, by an earlier attempt."""
        self.timeline.add(key, span)
        if self._before_bookmark is not None:
            self._before_bookmark.setdefault(key.phase, Span()).add(span)

    def close(self, time_s: float) -> None:
        """End the run at this time; later energy is not booked."""
        self.end_s = time_s

    def book(self, until_s: float) -> None:
        """Book all energy up to a time whose readings are final."""
        until_s = min(until_s, self.end_s)
        if until_s < self.begin_s:
            return
        if self._stacks.drop_dead():
            self._mark(until_s)
        while len(self._marks) > 1 and self._marks[1].time_s <= until_s:
            mark, after = self._marks[0], self._marks[1]
            span = self._advance_through(mark.key, after.time_s)
            self.timeline.add(mark.key, mark.complete(span, after.steps - mark.steps))
            self._marks.popleft()
            if after is self._bookmark:
                self._before_bookmark = merged(self.timeline.phases())
        mark = self._marks[0]
        if until_s > self.booked_s:
            self.timeline.add(mark.key, mark.complete(self._advance_through(mark.key, until_s), 0))
        if until_s >= self.end_s:
            self._keep_shown()

    def unbooked(self, now_s: float) -> Iterator[tuple[SpanKey, Span]]:
        """Yield the energy that is not booked yet, by the readings available now."""
        now_s = min(now_s, self.end_s)
        joules, from_s = self._origin_j(), self.booked_s
        last = _Mark(max(now_s, self._marks[-1].time_s), self._marks[-1].key, self.steps)
        for mark, after in pairwise([*self._marks, last]):
            after_j = _not_less(self._source.joules_at(after.time_s), joules)
            span = Span(after.time_s - from_s, _difference(after_j, joules))
            # A copy, because the entries are still to be booked.
            yield mark.key, replace(mark).complete(span, after.steps - mark.steps)
            joules, from_s = after_j, after.time_s

    @property
    def bookmark_s(self) -> float:
        """Time of the bookmark; at first the begin of the run."""
        return self._bookmark.time_s

    def bookmark(self, time_s: float) -> None:
        """Set the bookmark, from which :meth:`since_bookmark` counts."""
        self._add_mark(time_s, self._stacks.active)
        self._bookmark, self._before_bookmark = self._marks[-1], None

    def since_bookmark(self, phase: Phase, unbooked: Iterable[tuple[SpanKey, Span]]) -> Span:
        """Return what a phase took since the bookmark, by the readings available now on either side.

        Args:
            phase: the phase.
            unbooked: from :meth:`unbooked`, just now.
        """
        rest = list(zip(self._marks, unbooked, strict=False))
        before = self._before_bookmark
        if before is None:
            index = next(index for index, (mark, _) in enumerate(rest) if mark is self._bookmark)
            before = merged([*self.timeline.phases(), *(each for _, each in rest[:index])])
        now = merged([*self.timeline.phases(), *(each for _, each in rest)])
        return now.get(phase, Span()).since(before.get(phase, Span()))

    def shown(self, unbooked: Iterable[tuple[SpanKey, Span]]) -> dict[Phase, Span]:
        """Return the run by phase as it is shown: no device ever shows less than before.

        What is extrapolated beyond the last reading may turn out to be less. What was shown in excess is shown until
        the device has drawn it, as a part of the present phase.

        Args:
            unbooked: from :meth:`unbooked`, just now.
        """
        phases = merged([*self.timeline.phases(), *unbooked])
        joules = total_of(phases).joules
        excess = {device: shown_j - joules.get(device, 0.0) for device, shown_j in self._shown_j.items()}
        excess = {device: over_j for device, over_j in excess.items() if over_j > 0}
        self._shown_j = _not_less(joules, self._shown_j)
        if excess:
            phases.setdefault(self._marks[-1].key.phase, Span()).add(Span(0.0, excess))
        return phases

    def blocks(self, now_s: float) -> list[Block]:
        """Return the step profile, including energy that is not booked yet, by the readings available now."""
        now_s = min(now_s, self.end_s)
        profile, marks = self._profile.copy(), list(self._marks_of_batches.times)
        from_s, from_j = self.booked_s, sum(self._origin_j().values())
        ends_s = [*(mark.time_s for mark in self._marks), max(now_s, self._marks[-1].time_s)][1:]
        for mark, end_s in zip(list(self._marks), ends_s, strict=True):
            while marks and marks[0][0] <= end_s:
                time_s, made = marks.pop(0)
                to_s = max(time_s, from_s)
                to_j = max(from_j, sum(self._source.joules_at(to_s).values()))
                profile.add(mark.key, to_s - from_s, to_j - from_j, made)
                from_s, from_j = to_s, to_j
        return profile.blocks

    def _keep_shown(self) -> None:
        """Keep, at the end, what was shown in excess, unless it is so much that the total would be wrong."""
        joules = total_of(merged(self.timeline.phases())).joules
        excess = {device: shown_j - joules.get(device, 0.0) for device, shown_j in self._shown_j.items()}
        part = _KEPT + _KEPT_S / max(self.end_s - self.begin_s, _KEPT_S)
        kept = {device: over_j for device, over_j in excess.items() if 0 < over_j < part * self._shown_j[device]}
        if kept:
            self.timeline.add(self._marks[-1].key, Span(0.0, kept))
        self._shown_j = {}

    def _origin_j(self) -> dict[str, float]:
        return self._source.joules_at(self.begin_s) if self._booked_j is None else self._booked_j

    def _mark(self, time_s: float, *, entries: int = 0) -> None:
        """Mark a change of phase or epoch."""
        self._stacks.drop_dead()
        self._marks_of_batches.mark(max(time_s, self._marks[-1].time_s))
        self._add_mark(time_s, self._stacks.active, entries=entries)

    def _mark_part(self, time_s: float, active: Active, entered: str = "") -> None:
        """Mark a change of part within a phase, without a cut of the step profile, since parts may be as short."""
        self._add_mark(time_s, active, label_entries=int(entered != "" and active.label == entered))

    def _add_mark(self, time_s: float, active: Active, *, entries: int = 0, label_entries: int = 0) -> None:
        # A signal ends the run in another thread, while this one goes on until the process ends.
        if time_s > self.end_s:
            return
        key = SpanKey(self._epochs.current, active.phase)
        time_s = max(time_s, self._marks[-1].time_s)
        self._marks.append(_Mark(time_s, key, self.steps, entries, active.label, label_entries))

    def _advance_through(self, key: SpanKey, time_s: float) -> Span:
        """Book up to a time, and cut the profile at the marked batches on the way."""
        span, marks = Span(), self._marks_of_batches.times
        while marks and marks[0][0] <= time_s:
            mark_s, made = marks.pop(0)
            self._advance_into(span, key, mark_s, made)
        self._advance_into(span, key, time_s)
        return span

    def _advance_into(self, span: Span, key: SpanKey, time_s: float, made: int | None = None) -> None:
        part = self._advance(time_s)
        self._profile.add(key, part.seconds, part.total_j, made)
        if self._profile.full:
            self._marks_of_batches.close()
        self.power.add(key.phase, part.seconds, part.total_j)
        span.add(part)

    def _advance(self, time_s: float) -> Span:
        time_s = max(time_s, self.booked_s)
        before_j = self._origin_j()
        joules = _not_less(self._source.joules_at(time_s), before_j)
        span = Span(time_s - self.booked_s, _difference(joules, before_j))
        self.booked_s, self._booked_j = time_s, joules
        return span


def _not_less(joules: dict[str, float], floor: dict[str, float]) -> dict[str, float]:
    """Raise values to the floor, because booked energy is not taken back if a reading is corrected downwards."""
    return {device: max(value, floor.get(device, value)) for device, value in joules.items()}


def _difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {device: value - before.get(device, value) for device, value in after.items()}
