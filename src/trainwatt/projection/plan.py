"""Plan of a run, as the framework knows it in advance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Planned epochs, steps and evaluations of a run.

    In a resumed training, the plan covers this run only, and counts from its beginning. Steps are those that the plugin
    counts. None means unknown or unlimited. Without a plan of the evaluations, they are assumed to keep their past
    frequency.

    Attributes:
        epochs: number of epochs in this run; the first one may be partial.
        steps: largest number of steps in this run.
        steps_per_epoch: number of steps in a whole epoch.
        first_epoch: number of this run's first epoch in the whole training, counted from 0.
        first_step: number of steps that the training had completed before this run.
        skipped_steps: steps of this run's first epoch that were completed before this run.
        validate_epochs: interval between validations in epochs, counted over the whole training.
        validate_at: numbers of the epochs after which the run validates, counted from 1.
        validate_times: number of validations in such an epoch.
        validate_steps: interval between validations in steps, counted over the whole training.
        validates_last: True if the run also validates at its end when no evaluation is due.
        validation_batches: number of batches in one evaluation.
        validation_share: assumed cost of an evaluation batch relative to a training step, until the first one has been
            measured. The default is a forward pass, which is a third of a step (Kaplan et al. 2020, arXiv:2001.08361,
            section 2.1).
        may_stop: True if something may end the run early.
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
        """Return the number of steps in this run; None if it is not known yet.

        Args:
            steps_per_epoch: measured number of steps in an epoch, used if the framework does not report one.
        """
        per_epoch = self.steps_per_epoch or steps_per_epoch
        limits = [] if self.steps is None else [self.steps]
        if self.epochs is not None and per_epoch:
            limits.append(self.epochs * per_epoch - self.skipped_steps)
        return max(0, min(limits)) if limits else None

    @property
    def one_epoch(self) -> bool:
        """True if the run is known to end within its first epoch."""
        total, per_epoch = self.total_steps(), self.steps_per_epoch
        if self.epochs == 1 or (total is not None and per_epoch is None):
            return True
        return total is not None and per_epoch is not None and total <= per_epoch - self.skipped_steps

    @property
    def validates(self) -> bool:
        """True if the plan contains evaluations."""
        return bool(self.validate_epochs or self.validate_at or self.validate_steps)

    def ends_between(self, epochs: float, steps: int) -> bool:
        """Return True if a run of this length ends when no evaluation is due.

        Args:
            epochs: number of epochs in this run.
            steps: number of steps in this run.
        """
        if self.validate_steps:
            return (self.first_step + steps) % self.validate_steps > 0
        return self.validate_epochs is not None and epochs % 1 > 1e-9

    def evaluations(self, epochs: float, steps: float) -> int:
        """Return the planned number of evaluations up to a position in this run.

        Args:
            epochs: number of completed epochs.
            steps: number of completed steps.
        """
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
    """Return True if one of the callbacks may end the training early.

    They are recognised by the class name, because the early stopping of every framework contains "EarlyStopping".

    Args:
        callbacks: the callbacks of the training.
    """
    return any("EarlyStopping" in cls.__name__ for callback in callbacks for cls in type(callback).__mro__)
