"""Ledger that turns timestamped marks into spans of energy."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from trainwatt.accounting.power_history import PowerHistory
from trainwatt.accounting.step_profile import BatchMarks, Block, StepProfile
from trainwatt.accounting.timeline import Phase, Span, SpanKey, Timeline


class EnergySource(Protocol):
    """Protocol of a source of cumulative joules, e.g. a subscription to a sampler."""

    def joules_at(self, time_s: float) -> dict[str, float]:
        """Return cumulative joules by device id at a time."""
        ...


@dataclass(slots=True)
class _Mark:
    """Change of phase at a time.

    Attributes:
        time_s: time from which the phase holds.
        key: epoch and phase from then on.
        steps: steps of the whole run up to this mark.
        entries: 1 if the phase begins here, 0 if it continues.
    """

    time_s: float
    key: SpanKey
    steps: int
    entries: int


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
        self._stack: list[Phase] = []
        self._epoch = 0
        self._marks = deque([_Mark(time_s, SpanKey(0, "other"), 0, 1)])

    @property
    def epoch(self) -> int:
        """Current epoch, counted from 0."""
        return self._epoch

    @property
    def booked_j(self) -> float:
        """Joules booked so far."""
        return sum(span.total_j for _, span in self.timeline.phases())

    @property
    def settled_epoch(self) -> int:
        """First epoch that is not fully booked; all earlier ones are."""
        return self._marks[0].key.epoch

    def begin(self, phase: Phase, time_s: float, epoch: int | None = None) -> None:
        """Enter a phase; phases nest, and energy is booked to the innermost one."""
        if epoch is not None:
            self._epoch = epoch
        self._stack.append(phase)
        self._mark(time_s, entries=1)
        if phase not in self._entered:
            self._entered.add(phase)
            self._marks_of_batches.refresh(time_s)

    def end(self, phase: Phase, time_s: float) -> None:
        """Leave a phase and any phases open inside it; ignored if the phase was not entered."""
        if phase not in self._stack:
            return
        while self._stack.pop() != phase:
            pass
        self._mark(time_s, entries=0)

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
        """Close the current epoch and return its number; later energy belongs to the next epoch."""
        self._epoch += 1
        self._mark(time_s, entries=0)
        return self._epoch - 1

    def close(self, time_s: float) -> None:
        """End the run at this time; later energy is not booked."""
        self.end_s = time_s

    def book(self, until_s: float) -> None:
        """Book all energy up to a time whose readings are final."""
        until_s = min(until_s, self.end_s)
        if until_s < self.begin_s:
            return
        while len(self._marks) > 1 and self._marks[1].time_s <= until_s:
            mark, after = self._marks[0], self._marks[1]
            span = self._advance_through(mark.key, after.time_s)
            span.entries, span.steps = mark.entries, after.steps - mark.steps
            self.timeline.add(mark.key, span)
            self._marks.popleft()
        mark = self._marks[0]
        if until_s > self.booked_s:
            span = self._advance_through(mark.key, until_s)
            span.entries, mark.entries = mark.entries, 0
            self.timeline.add(mark.key, span)

    def unbooked(self, now_s: float) -> Iterator[tuple[SpanKey, Span]]:
        """Yield the energy that is not booked yet, by the readings available now."""
        now_s = min(now_s, self.end_s)
        joules, from_s = self._origin_j(), self.booked_s
        last = _Mark(max(now_s, self._marks[-1].time_s), self._marks[-1].key, self.steps, 0)
        for mark, after in pairwise([*self._marks, last]):
            after_j = _not_less(self._source.joules_at(after.time_s), joules)
            span = Span(after.time_s - from_s, _difference(after_j, joules), mark.entries, after.steps - mark.steps)
            yield mark.key, span
            joules, from_s = after_j, after.time_s

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

    def _origin_j(self) -> dict[str, float]:
        return self._source.joules_at(self.begin_s) if self._booked_j is None else self._booked_j

    def _mark(self, time_s: float, entries: int) -> None:
        phase = self._stack[-1] if self._stack else "other"
        self._marks_of_batches.mark(max(time_s, self._marks[-1].time_s))
        self._marks.append(_Mark(max(time_s, self._marks[-1].time_s), SpanKey(self._epoch, phase), self.steps, entries))

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
