"""What the framework says is to come."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The course of a run, from its own beginning: of a resumed training, what this run is to make of it.

    Steps are those that the plugin counts. What is None is not known, or sets no limit; where nothing is said of
    evaluations, they come as often as they came.

    Attributes:
        epochs: how many this run makes; the first may be a part of one.
        steps: how many this run makes at most.
        steps_per_epoch: of a whole epoch.
        first_epoch: number of its first epoch, counted from 0.
        first_step: steps of the whole training that were made before.
        skipped_steps: of these, those of this run's first epoch.
        validate_epochs: it validates after every so many epochs, by their number in the whole training.
        validate_at: it validates after the epochs of these numbers, counted from 1.
        validate_times: how often it validates in such an epoch.
        validate_steps: it validates after every so many steps of the whole training.
        validates_last: it validates at its end, too, where no evaluation is due.
        validation_batches: in one evaluation.
        validation_share: cost of an evaluation batch, in those of a training step, before one was seen: by default that
            of a forward pass, of which a step takes three (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).
        may_stop: something may end the run before its time.
    """

    epochs: int | None = None
    steps: int | None = None
    steps_per_epoch: int | None = None
    first_epoch: int = 0
    first_step: int = 0
    skipped_steps: int = 0
    validate_epochs: int | None = None
    validate_at: tuple[int, ...] = ()
    validate_times: int = 1
    validate_steps: int | None = None
    validates_last: bool = False
    validation_batches: int | None = None
    validation_share: float = 1 / 3
    may_stop: bool = False

    def total_steps(self, steps_per_epoch: int | None = None) -> int | None:
        """Steps of this run; None where they cannot be known yet.

        Args:
            steps_per_epoch: as measured, where the framework cannot tell.
        """
        per_epoch = self.steps_per_epoch or steps_per_epoch
        limits = [] if self.steps is None else [self.steps]
        if self.epochs is not None and per_epoch:
            limits.append(self.epochs * per_epoch - self.skipped_steps)
        return max(0, min(limits)) if limits else None

    @property
    def one_epoch(self) -> bool:
        """Whether the run is known to end within its first epoch."""
        total, per_epoch = self.total_steps(), self.steps_per_epoch
        if self.epochs == 1 or (total is not None and per_epoch is None):
            return True
        return total is not None and per_epoch is not None and total <= per_epoch - self.skipped_steps

    @property
    def validates(self) -> bool:
        """Whether it is said when evaluations come."""
        return bool(self.validate_epochs or self.validate_at or self.validate_steps)

    def ends_between(self, epochs: float, steps: int) -> bool:
        """Whether a run of so many epochs and steps ends where no evaluation is due."""
        if self.validate_steps:
            return (self.first_step + steps) % self.validate_steps > 0
        return self.validate_epochs is not None and epochs % 1 > 1e-9

    def evaluations(self, epochs: float, steps: float) -> int:
        """How many evaluations there have been when this run has made so many epochs or steps."""
        if self.validate_steps:
            made = math.floor((self.first_step + steps) / self.validate_steps + 1e-9)
            return made - self.first_step // self.validate_steps
        last = self.first_epoch + math.floor(epochs + 1e-9)
        if self.validate_at:
            return self.validate_times * sum(self.first_epoch < number <= last for number in self.validate_at)
        if self.validate_epochs:
            rounds = last // self.validate_epochs - self.first_epoch // self.validate_epochs
            return self.validate_times * rounds
        return 0


def stops_early(callbacks: Iterable[object]) -> bool:
    """Whether one of a training's callbacks may end it before its time: every framework's own is named like that."""
    return any("EarlyStopping" in cls.__name__ for callback in callbacks for cls in type(callback).__mro__)
