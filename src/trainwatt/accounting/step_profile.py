"""Energy per block of steps at the beginning of a run, fine enough to separate warm-up from steady state."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from trainwatt.accounting.timeline import Phase, SpanKey

_MAX_BLOCKS = 2048
# Least length of a block, as a part of the time since a phase was first entered.
_PART = 1 / 64


class Block(NamedTuple):
    """Consecutive steps of one phase of one epoch.

    Attributes:
        key: epoch and phase.
        steps: framework steps or evaluation batches; 0 for time in which none was completed.
        seconds: duration.
        joules: joules of all devices.
    """

    key: SpanKey
    steps: int
    seconds: float
    joules: float


@dataclass(slots=True)
class StepProfile:
    """Blocks in order of time, from the beginning of the run until there are 2,048 of them.

    Block lengths grow with the elapsed time, so an hour takes hardly more blocks than a minute.
    """

    blocks: list[Block] = field(default_factory=list)
    _made: int = 0
    _seconds: float = 0.0
    _joules: float = 0.0

    @property
    def full(self) -> bool:
        """True if no more blocks are accepted."""
        return len(self.blocks) >= _MAX_BLOCKS

    def add(self, key: SpanKey, seconds: float, joules: float, made: int | None = None) -> None:
        """Add time and energy to the open block, and close it if ``made`` is given.

        Args:
            key: epoch and phase.
            seconds: time since the last call.
            joules: joules of all devices since the last call.
            made: completed steps since the beginning of the run; None leaves the block open.
        """
        if self.full:
            return
        self._seconds += seconds
        self._joules += joules
        if made is not None:
            steps = made - self._made
            if steps or self._seconds > 0:
                self.blocks.append(Block(key, steps, self._seconds, self._joules))
            self._made, self._seconds, self._joules = made, 0.0, 0.0

    def copy(self) -> StepProfile:
        """Return an independent copy."""
        return StepProfile(list(self.blocks), self._made, self._seconds, self._joules)


def first_epoch(blocks: Iterable[Block], phase: Phase) -> list[Block]:
    """Return the blocks of a phase in the first epoch that has any."""
    own = [block for block in blocks if block.key.phase == phase]
    return [block for block in own if block.key.epoch == own[0].key.epoch]


class BatchMarks:
    """Timestamps of completed batches, cheap enough for every step.

    Attributes:
        made: completed steps so far, including evaluation batches.
        times: marks: a time and the number of completed steps at it.
        due_s: time from which the next step is marked.
    """

    __slots__ = ("_since_s", "due_s", "made", "times")

    def __init__(self) -> None:
        self.made = 0
        self.times: list[tuple[float, int]] = []
        self._since_s = self.due_s = 0.0

    def refresh(self, time_s: float) -> None:
        """Restart with short blocks, because a new phase begins."""
        if self.due_s < math.inf:
            self._since_s = self.due_s = time_s

    def mark(self, time_s: float) -> None:
        """Cut the block here."""
        if self.due_s < math.inf:
            self.times.append((time_s, self.made))
            self.due_s = time_s + _PART * (time_s - self._since_s)

    def close(self) -> None:
        """Stop marking."""
        self.due_s = math.inf
        self.times.clear()
