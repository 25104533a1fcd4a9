"""The beginning of a run in blocks of steps, fine enough to tell its warm-up from what goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from trainwatt.accounting.timeline import Phase, SpanKey

_MAX_BLOCKS = 2048
_PART = 1 / 64  # of the time since a phase was first entered: a block is no shorter


class Block(NamedTuple):
    """Some steps of one phase of one epoch, in the order in which they were made.

    Attributes:
        key: which phase of which epoch.
        steps: framework steps or evaluation batches; 0 for time in which none was completed.
        seconds: time they took.
        joules: energy of all devices.
    """

    key: SpanKey
    steps: int
    seconds: float
    joules: float


@dataclass(slots=True)
class StepProfile:
    """Blocks in the order of time, from the beginning of the run until there are 2,048 of them.

    Blocks grow with the time that has passed, so that an hour takes hardly more of them than a minute.
    """

    blocks: list[Block] = field(default_factory=list)
    _made: int = 0
    _seconds: float = 0.0
    _joules: float = 0.0

    @property
    def full(self) -> bool:
        """Whether no more blocks are wanted."""
        return len(self.blocks) >= _MAX_BLOCKS

    def add(self, key: SpanKey, seconds: float, joules: float, made: int | None = None) -> None:
        """Add some time and energy to the open block, and close it.

        Args:
            key: which phase of which epoch.
            seconds: since the last call.
            joules: of all devices, since the last call.
            made: steps made since the beginning of the run; None: the block stays open.
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
        """One that can be gone on with by itself."""
        return StepProfile(list(self.blocks), self._made, self._seconds, self._joules)


def first_epoch(blocks: Iterable[Block], phase: Phase) -> list[Block]:
    """The blocks of a phase in the first epoch that has any."""
    own = [block for block in blocks if block.key.phase == phase]
    return [block for block in own if block.key.epoch == own[0].key.epoch]


class BatchMarks:
    """When steps were made: timestamps in the making, cheap enough for every step.

    Attributes:
        made: steps so far, evaluation batches among them.
        times: at some times, how many had been made.
        due_s: when to mark the time of a step again.
    """

    __slots__ = ("_since_s", "due_s", "made", "times")

    def __init__(self) -> None:
        self.made = 0
        self.times: list[tuple[float, int]] = []
        self._since_s = self.due_s = 0.0

    def refresh(self, time_s: float) -> None:
        """Something new begins: blocks are short again."""
        if self.due_s < math.inf:
            self._since_s = self.due_s = time_s

    def mark(self, time_s: float) -> None:
        """Cut here."""
        if self.due_s < math.inf:
            self.times.append((time_s, self.made))
            self.due_s = time_s + _PART * (time_s - self._since_s)

    def close(self) -> None:
        """No more cuts are wanted."""
        self.due_s = math.inf
        self.times.clear()
