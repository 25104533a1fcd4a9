"""Green early stopping as a callback drives it: what the callbacks of all frameworks share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainwatt.callbacks.lifecycle import monitors_among
from trainwatt.distributed.process_group import ALONE, ProcessGroup
from trainwatt.tracking.green_stopper import GreenStopper

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.stopping.criteria import Decision
    from trainwatt.stopping.reason import StopReason
    from trainwatt.stopping.threshold import Mode
    from trainwatt.tracking.options import StoppingOptions

_log = logging.getLogger("trainwatt")


class StopController:
    """A green stopper, with the outcome and the messages of a callback.

    Args:
        mode: direction of the metric; None: set before the first evaluation.
        verbose: log why the training is stopped.
        options: see :class:`trainwatt.tracking.options.StoppingOptions`.

    Attributes:
        reason: why the training was stopped; None if it was not.
        message: the same as a sentence.
        last_decision: the latest decision of an evaluation; None before the first.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    def __init__(self, mode: Mode | None, *, verbose: bool, **options: Unpack[StoppingOptions]) -> None:
        self.reason: StopReason | None = None
        self.message: str | None = None
        self.last_decision: Decision | None = None
        self.options = options
        self._verbose = verbose
        self._stopper = GreenStopper(mode, **options)
        self._group = ALONE

    @property
    def mode(self) -> Mode | None:
        """Direction of the metric; None if it is not known yet."""
        return self._stopper.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._stopper.mode = mode

    def start(
        self,
        trains_on: Iterable[object] | None,
        group: ProcessGroup,
        *,
        callbacks: Iterable[object] = (),
        evaluations: int | None = None,
        remedy: str = "",
    ) -> None:
        """Start measuring a training.

        Args:
            trains_on: the framework's devices that this process computes on; None if unknown.
            group: the processes of the job; rank 0 decides.
            callbacks: all callbacks of the training; the place of its monitors is checked against the stopper's.
            evaluations: expected number of evaluations; None if unknown.
            remedy: how to evaluate more often in this framework.

        Raises:
            ArgumentError: a monitor was given another place or factor, or there is a cost budget without a price.
        """
        self.reason = self.message = self.last_decision = None
        self._group = group
        self._stopper.start(trains_on, group, monitors=monitors_among(callbacks))
        if evaluations is not None:
            self.warn_if_few(evaluations, remedy)

    def warn_if_few(self, evaluations: int, remedy: str) -> None:
        """Warn once if the training will have too few evaluations to decide on."""
        warning = self._stopper.too_few_evaluations_warning(evaluations, remedy)
        if self._group.rank == 0:
            self.log(warning)

    def stop(self) -> None:
        """End measuring."""
        self._stopper.stop()

    def exchange(self) -> None:
        """Exchange figures with the other processes of the job; all of them must call it."""
        self._stopper.exchange()

    def evaluate(
        self,
        value: float | None,
        *,
        done: float | None,
        when: str,
        remaining_lr: Sequence[float] | None,
        metric: str,
    ) -> Decision:
        """Decide after an evaluation; see :meth:`trainwatt.GreenStopper.evaluate`."""
        decision = self._stopper.evaluate(value, done=done, when=when, remaining_lr=remaining_lr, metric=metric)
        self.last_decision = decision
        return decision

    def check_budget(self, when: str) -> Decision | None:
        """Check the budgets within an epoch; None in a job of several processes, which agree at evaluations only."""
        return self._stopper.check_budget(when) if self._group.world_size == 1 else None

    def conclude(self, decision: Decision, *, stop: bool | None = None) -> bool:
        """Keep the outcome of a decision, and log its sentence.

        Args:
            decision: of this process.
            stop: the decision of all processes of the job; None: this one decides alone.

        Returns:
            True if the training is to stop.
        """
        stop = decision.stop if stop is None else stop
        if stop:
            self.reason, self.message = decision.reason, decision.sentence or None
        self.log(decision.sentence)
        return stop

    def log(self, sentence: str) -> None:
        """Log a sentence, if there is one and the user wants to read it."""
        if sentence and self._verbose:
            _log.warning("trainwatt: %s", sentence)

    def state_dict(self) -> dict[str, Any]:
        """Return the history of evaluations, of numbers and lists only."""
        return self._stopper.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._stopper.load_state_dict(state)


class StopOutcome:
    """The outcome of green early stopping, as the callback of every framework shows it."""

    _controller: StopController

    @property
    def stopping_reason(self) -> StopReason | None:
        """Reason for which the training was stopped; None if it was not."""
        return self._controller.reason

    @property
    def stopping_reason_message(self) -> str | None:
        """The reason as a sentence."""
        return self._controller.message

    @property
    def last_decision(self) -> Decision | None:
        """Latest decision: its ``diverged`` and ``cool_down`` tell more than the reason; None before the first."""
        return self._controller.last_decision
