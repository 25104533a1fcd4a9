"""Green early stopping as a callback drives it: what the callbacks of all frameworks share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from trainwatt.callbacks.lifecycle import monitors_among
from trainwatt.containment import Failures
from trainwatt.distributed.process_group import ALONE, ProcessGroup
from trainwatt.errors import ArgumentError
from trainwatt.stopping.criteria import Decision, StoppingCriteria
from trainwatt.tracking.green_stopper import GreenStopper

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.stopping.reason import StopReason
    from trainwatt.stopping.threshold import Mode
    from trainwatt.tracking.options import StoppingOptions

_log = logging.getLogger("trainwatt")

# Looks at the logs without the metric before that is worth a warning: it may be logged every second epoch.
_MISSED = 2


class StopController:
    """A green stopper, with the outcome and the messages of a callback.

    Once a training has begun, nothing here raises into it.

    Args:
        mode: direction of the metric; None: set before the first evaluation.
        verbose: log why the training is stopped.
        options: see :class:`trainwatt.tracking.options.StoppingOptions`.

    Attributes:
        reason: why the training was stopped; None if it was not.
        message: the same as a sentence.
        last_decision: the latest decision of an evaluation; None before the first.
        running: True from the beginning to the end of a training.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    def __init__(self, mode: Mode | None, *, verbose: bool, **options: Unpack[StoppingOptions]) -> None:
        self.reason: StopReason | None = None
        self.message: str | None = None
        self.last_decision: Decision | None = None
        self.running = False
        self.options = options
        self._verbose = verbose
        self._stopper = GreenStopper(mode, **options)
        self._group = ALONE
        self._failures = Failures()
        self._was_seen, self._missed, self._stopped = False, 0, False

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy holds: history, figures and outcome, without the training that is going on."""
        return vars(self) | {"running": False, "_group": ALONE}

    @property
    def mode(self) -> Mode | None:
        """Direction of the metric; None if it is not known yet."""
        return self._stopper.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._stopper.mode = mode

    @property
    def key(self) -> str:
        """Text of the given criteria, which tells this stopper from another one of the same metric; may be empty."""
        own, plain = self._stopper.criteria, StoppingCriteria()
        names = (each.name for each in fields(own))
        given = {name: getattr(own, name) for name in names if getattr(own, name) != getattr(plain, name)}
        return ",".join(f"{name}={value}" for name, value in sorted(given.items()))

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
            callbacks: all callbacks of the training. The place of its monitors is the stopper's, and verdicts are in
                their run folders.
            evaluations: expected number of evaluations; None if unknown.
            remedy: how to evaluate more often in this framework.

        Raises:
            ArgumentError: a monitor was given another place or factor, or there is a cost budget without a price.
        """
        self.reason = self.message = self.last_decision = None
        self._failures = Failures()
        self._was_seen, self._missed, self._stopped = False, 0, False
        self._group = group
        with self._unless_bad("green early stopping", "nothing is stopped"):
            self._stopper.start(trains_on, group, monitors=monitors_among(callbacks))
            self.running = True
        if evaluations is not None:
            self.warn_if_few(evaluations, remedy)

    def warn_if_few(self, evaluations: int, remedy: str) -> None:
        """Warn once if the training will have too few evaluations to decide on."""
        warning = self._stopper.too_few_evaluations_warning(evaluations, remedy)
        if self._group.rank == 0:
            self.log(warning)

    def stop(self) -> None:
        """End measuring."""
        self.running = False
        with self._failures.contained("the end of green early stopping"):
            self._stopper.stop()

    def exchange(self) -> None:
        """Exchange figures with the other processes of the job; all of them must call it."""
        if self.running:
            self._stopper.exchange()

    def evaluate(
        self,
        value: object,
        *,
        done: float | None,
        when: str,
        remaining_lr: Sequence[float] | None,
        metric: str,
        may_stop: bool = True,
    ) -> Decision:
        """Decide after an evaluation; see :meth:`trainwatt.GreenStopper.evaluate`. Outside a training, do nothing.

        Args:
            value: the metric, of any type; one that is no number costs a warning, and is no evaluation.
            done: progress of the planned run, 0 to 1; None if unknown.
            when: position in the run for the message.
            remaining_lr: learning rates from now to the end of the plan, evenly spaced; None if unknown.
            metric: name of the metric.
            may_stop: False: only a budget may stop the run here.
        """
        if not self.running:
            return Decision()
        number = self.number(value, metric)
        if number is None and value is not None:
            return Decision()
        self._was_seen = True
        decision = self._stopper.evaluate(
            number, done=done, when=when, remaining_lr=remaining_lr, metric=metric, may_stop=may_stop
        )
        self.last_decision = decision
        return decision

    def number(self, value: Any, metric: str) -> float | None:
        """Return the metric as a number; None if it is none, which costs one warning.

        Args:
            value: the metric, of any type.
            metric: its name.
        """
        if value is None:
            return None
        try:
            return float(value)
        except Exception:  # noqa: BLE001  # a tensor of several values, or whatever the user has logged
            self._failures.failed(f"the conversion of {metric!r} to a number", "it is not judged")
            return None

    def missing(self, metric: str, available: Iterable[str], report: Callable[[], object] | None = None) -> int:
        """Note that the logs are without the metric, and warn at the second look if it has never been there.

        Args:
            metric: its name.
            available: names of the metrics that are there.
            report: warns as the framework does; None: our own warning.

        Returns:
            How many looks in a row have missed it; 0 if it was seen before in this training.
        """
        if self._was_seen or not self.running:
            return 0
        self._missed += 1
        if self._missed == _MISSED:
            names = ", ".join(available) or "none"
            sentence = f"{metric} is not logged, so there is nothing to judge; metrics that are: {names}"
            (report or functools.partial(self.warn, "missing", f"green early stopping: {sentence}"))()
        return self._missed

    def agree(self, decision: Decision) -> bool:
        """Return the decision of rank 0 on every rank: each of them must call this at every look at the logs.

        No rank hangs if another one does not, and the training goes on unless all take part.

        Args:
            decision: of this process; only that of rank 0 matters.
        """
        return self._stopper.agree(decision.stop) if self.running else False

    def share(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values of rank 0 on every rank. All processes of the job must call this; see :meth:`agree`.

        Args:
            values: those of this rank; only those of rank 0 matter.
        """
        return self._stopper.share(values) if self.running else {}

    def check_budget(self, when: str) -> Decision | None:
        """Check the budgets within an epoch; None in a job of several processes, which agree at evaluations only."""
        return self._stopper.check_budget(when) if self.running and self._group.world_size == 1 else None

    def conclude(self, decision: Decision, *, stop: bool | None = None, in_force: bool = True) -> bool:
        """Keep the outcome of a decision, and log its sentence once the training really stops.

        Args:
            decision: of this process.
            stop: the decision of all processes of the job; None: this one decides alone.
            in_force: False if the framework would not stop yet, as before Lightning's ``min_epochs``. Nothing is kept
                or logged then, and the next evaluation decides again.

        Returns:
            True if the training is to stop now.
        """
        stop = decision.stop if stop is None else stop
        if not stop:
            # one of a stop that is not to be is nothing to say
            self.log("" if decision.stop else decision.sentence)
        elif in_force and not self.stopped:
            self._stopped = True
            self.reason, self.message = decision.reason, decision.sentence or None
            self.log(decision.sentence)
        return stop and in_force

    @property
    def stopped(self) -> bool:
        """True if the training was stopped, on whichever rank that was decided."""
        return self._stopped

    def warn(self, kind: str, message: str) -> None:
        """Log a warning, once per training.

        Args:
            kind: tells it from others.
            message: the warning, without the package's name.
        """
        self._failures.warn(kind, message)

    def log(self, sentence: str) -> None:
        """Log a sentence, if there is one and the user wants to read it."""
        if sentence and self._verbose:
            _log.warning("trainwatt: %s", sentence)

    def state_dict(self) -> dict[str, Any]:
        """Return the history of evaluations, of numbers and lists only."""
        return self._failures.result("the history of evaluations", self._stopper.state_dict, {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, now or with the next training."""
        if state:
            self._stopper.load_state_dict(state)

    @contextmanager
    def _unless_bad(self, kind: str, consequence: str) -> Iterator[None]:
        """Surround what may fail, and let only bad arguments through."""
        try:
            yield
        except ArgumentError:
            raise
        except Exception:  # noqa: BLE001  # whatever it is, the training begins
            self._failures.failed(kind, consequence)


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
