"""Identity of epochs: a running index as the key, and the user's number as a label."""

from __future__ import annotations

from typing import NamedTuple

from trainwatt.accounting.timeline import Phase


class EpochLabel(NamedTuple):
    """Names of an epoch for people; unique within a run.

    Attributes:
        loop: how often the numbers had started again before this epoch, e.g. the fold of a cross-validation, from 0.
        number: the user's or the framework's number of the epoch, from 0; counted if none was given.
    """

    loop: int
    number: int


class EpochIndex:
    """Running index of the open epoch, and the labels of all epochs that were not yet taken.

    The index only ever grows by one, whatever numbers the user gives: numbers may repeat, skip, or go back after a
    restored checkpoint.

    Attributes:
        current: index of the open epoch, from 0.
    """

    def __init__(self) -> None:
        self.current = 0
        self._loop = 0
        # Number of the latest epoch in this loop.
        self._last: int | None = None
        # True once the open epoch has got its number.
        self._begun = False
        self._labels = {0: EpochLabel(0, 0)}

    def begin(self, number: int, phase: Phase) -> None:
        """Give the open epoch its number. If it has another number already, it was never ended, and a new one begins.

        Args:
            number: the user's number.
            phase: the phase that begins it. An evaluation of the epoch that has just ended begins none.
        """
        if self._begun and number == self._labels[self.current].number:
            return
        if not self._begun and number == self._last and phase != "train":
            return
        if self._begun:
            self.close()
        if self._last is not None and number <= self._last:
            self._loop += 1
        self._labels[self.current] = EpochLabel(self._loop, number)
        self._begun = True

    def begin_loop(self) -> None:
        """Let the numbers start again: all that follows belongs to a new loop, unless this one has no epoch yet."""
        if self._begun:
            self.close()
        if self._last is not None:
            self._loop, self._last = self._loop + 1, None
            self._labels[self.current] = EpochLabel(self._loop, 0)

    def close(self) -> int:
        """End the open epoch, and return its index."""
        self._last = self._labels[self.current].number
        self.current += 1
        self._labels[self.current] = EpochLabel(self._loop, self._last + 1)
        self._begun = False
        return self.current - 1

    def label(self, index: int) -> EpochLabel:
        """Return the label of an epoch that was not yet taken."""
        return self._labels[index]

    def drop_before(self, index: int) -> None:
        """Forget the labels of all earlier epochs, which are written; that of the open one is kept."""
        for known in [each for each in self._labels if each < min(index, self.current)]:
            del self._labels[known]
