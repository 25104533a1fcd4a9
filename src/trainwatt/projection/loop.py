"""Loop of epochs that a plan covers, and the position in that plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from trainwatt.accounting.timeline import Phase, Span

# Number of latest epochs that a projection uses.
RECENT_EPOCHS = 24


class _Reached(NamedTuple):
    """Begin of an epoch: its number, and the epochs and steps of the plan that were done by then."""

    number: int
    epochs: int
    steps: int


class Loop:
    """Consecutive epochs under one plan. A run has several, e.g. one for each fold of a cross-validation.

    Numbers of epochs that go back, as after a restored checkpoint, mean that work is repeated. If numbers skip some or
    stay the same, the completed epochs are counted instead.

    Args:
        first: index of the loop's first epoch in the run.
        before: totals of the run when the loop began, by phase.

    Attributes:
        closed: indices of the latest completed epochs, oldest first.
        first_closed: index of the first completed epoch; None if there is none yet.
        epochs: number of completed epochs.
        steps: number of training steps before the open epoch.
        repeated_epochs: completed epochs that do not count for the plan, because they were repeated.
        repeated_steps: training steps likewise.
    """

    def __init__(self, first: int = 0, before: Mapping[Phase, Span] | None = None) -> None:
        self.first, self.before = first, before or {}
        self.closed: deque[int] = deque(maxlen=RECENT_EPOCHS)
        self.first_closed: int | None = None
        self.epochs = self.steps = 0
        self.repeated_epochs = self.repeated_steps = 0
        # Number of the open epoch, and of the latest one that had any.
        self._open: int | None = None
        self._latest: int | None = None
        self._begun: _Reached | None = None
        self._furthest = _Reached(0, 0, 0)

    def own(self, phases: Mapping[Phase, Span]) -> dict[Phase, Span]:
        """Return the part of the run since the loop began, by phase.

        Args:
            phases: totals of the run, by phase.
        """
        spans = {phase: span.since(self.before.get(phase, Span())) for phase, span in phases.items()}
        return {phase: span for phase, span in spans.items() if phase not in self.before or span.seconds > 0}

    def begin_epoch(self, number: int, steps: Callable[[], int]) -> None:
        """Note the number of an epoch that begins.

        Args:
            number: the user's.
            steps: counts the training steps of this loop so far; called if the epoch before was not completed.
        """
        if number == self._open:
            return
        if self._open is not None:
            self.steps = steps()
        latest, self._open, self._latest = self._latest, number, number
        made = _Reached(number, self.epochs - self.repeated_epochs, self.steps - self.repeated_steps)
        if self._begun is None:
            self._begun = self._furthest = made
        elif number != latest:
            self._move_to(self._begun, made)

    def end_epoch(self, index: int, phases: Mapping[Phase, Span]) -> None:
        """Note a completed epoch.

        Args:
            index: its index.
            phases: totals of the run up to its end, by phase.
        """
        self.closed.append(index)
        self.first_closed = index if self.first_closed is None else self.first_closed
        self.epochs += 1
        self.steps = train_steps(self.own(phases))
        self._open = None

    def _move_to(self, begun: _Reached, made: _Reached) -> None:
        """Set the position in the plan to that of an epoch's number.

        Args:
            begun: begin of the loop's first epoch.
            made: begin of this epoch, if all that was done counts.
        """
        further, reached = made.number - begun.number, self._furthest
        if made.number > reached.number:
            epochs = min(made.epochs, begun.epochs + further)
        elif reached.number > begun.number:
            per_number = (reached.epochs - begun.epochs) / (reached.number - begun.number)
            epochs = begun.epochs + round(per_number * further)
        else:
            epochs = begun.epochs + further
        steps = made.steps
        if epochs != made.epochs:
            steps = round(epochs * reached.steps / reached.epochs) if reached.epochs else 0
        self.repeated_epochs, self.repeated_steps = self.epochs - epochs, self.steps - steps
        if made.number > reached.number:
            self._furthest = _Reached(made.number, epochs, steps)


def train_steps(phases: Mapping[Phase, Span]) -> int:
    """Return the number of training steps in some phases."""
    return phases["train"].steps if "train" in phases else 0
