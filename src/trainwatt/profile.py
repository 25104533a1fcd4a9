"""The beginning of a run in blocks of steps, fine enough to tell its warm-up from what goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from trainwatt.timeline import SpanKey

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
class Profile:
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

    def copy(self) -> Profile:
        """One that can be gone on with by itself."""
        return Profile(list(self.blocks), self._made, self._seconds, self._joules)


class Beats:
    """When steps were made: timestamps in the making, cheap enough for every step.

    Attributes:
        made: steps so far, evaluation batches among them.
        times: at some times, how many had been made.
    """

    __slots__ = ("_due_s", "_since_s", "made", "times")

    def __init__(self) -> None:
        self.made = 0
        self.times: list[tuple[float, int]] = []
        self._since_s = self._due_s = 0.0

    def refresh(self, time_s: float) -> None:
        """Something new begins: blocks are short again."""
        self._since_s = self._due_s = time_s

    def count(self, count: int, time_s: float) -> None:
        """Some steps have been made; with a count of 0 something other than a step has ended."""
        self.made += count
        if time_s >= self._due_s or not count:
            self.mark(time_s)

    def mark(self, time_s: float) -> None:
        """Cut here."""
        self.times.append((time_s, self.made))
        self._due_s = time_s + _PART * (time_s - self._since_s)
