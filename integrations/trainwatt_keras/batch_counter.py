"""Counting batches from their numbers: Keras has no hook that is called once per batch, whatever its execution."""

from __future__ import annotations

from collections import deque

_RECENT = 256  # more than there are batches under way between Keras's threads


class BatchCounter:
    """Count the batches of an epoch, of which Keras reports the number, one or several at a time.

    Args:
        expected: batches of an epoch; None if unknown.
        per_execution: batches of one execution (``steps_per_execution``).
    """

    def __init__(self, expected: int | None = None, per_execution: int = 1) -> None:
        self.expected = expected
        self._per_execution = per_execution
        self._begun = 0
        self._ended: deque[int] = deque(maxlen=_RECENT)

    def reset(self) -> None:
        """Begin an epoch."""
        self._begun = 0
        self._ended.clear()

    def begin(self, batch: int) -> int:
        """Note that a batch begins, and return how many were completed since this was last called."""
        completed, self._begun = batch - self._begun, batch
        return completed

    def end(self, batch: int) -> None:
        """Note that a batch has ended; safe to call from Keras's own threads."""
        self._ended.append(batch)

    def rest(self) -> int:
        """End an epoch, and return how many batches were completed since the last one began.

        No batch begins after the last one, and TensorFlow lets one begin before it finds that there is none. Before
        Keras 3.11 an execution ends with the number of its first batch.
        """
        completed = max(self._ended, default=-1) + 1
        completed += -completed % self._per_execution
        if self.expected is not None:
            completed = min(completed, self.expected)
        rest = max(0, completed - self._begun)
        self.reset()
        return rest
