"""The Trainer's callback: each call of the Trainer is a run, to which the hooks are passed on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from trainwatt.accounting.timeline import Phase
from trainwatt.callbacks.hooks import Hooks
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.containment import Failures
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting import console
from trainwatt.tracking.outcome import status_of
from trainwatt_transformers.callback_states import attributes_of, make_room, plain, put_states
from trainwatt_transformers.measured_call import MeasuredCall
from trainwatt_transformers.model_card import add_emissions
from trainwatt_transformers.trainer_calls import CallWatcher, monitor_of, report_calls_of, watchers_of
from trainwatt_transformers.trainer_frames import call_of, calling_trainer
from trainwatt_transformers.trainer_state import log_entry, warn_of_codecarbon

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from trainwatt.tracking.options import MonitorOptions

_log = logging.getLogger("trainwatt")


def _nothing() -> None:
    """Do nothing: no call is being measured."""


class FootprintCallback(Hooks, CallWatcher, TrainerCallback, ExportableState):
    """Energy monitor that logs energy and footprint to everything that the Trainer reports to.

    Each call of ``train``, and of ``evaluate`` or ``predict`` outside it, is a run. Values are in the Trainer's own log
    entries with a loss, in an entry at the end of each epoch, and in the Trainer's last entry.

    Args:
        options: location, devices, output and projection; see :class:`trainwatt.tracking.options.MonitorOptions`,
            :class:`trainwatt.tracking.options.Options` and :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    measures = True

    def __init__(self, **options: Unpack[MonitorOptions]) -> None:
        super().__init__()
        self._options = options
        self._own_run = self._latest = Lifecycle(self._write_line, **options)
        # calls that are being measured, each within the one before
        self._calls: list[MeasuredCall] = []
        self._trained: Mapping[str, Any] = {}  # the summary of the last training
        self._warned = False
        self._failures = Failures()
        self._focus()

    def _idle(self) -> dict[str, Any]:
        none = {"_state": None, "_begin_batch": _nothing, "_count_step": _nothing, "_count_batch": _nothing}
        return {**super()._idle(), **none, "_calls": [], "_latest": self._own_run, "_failures": Failures()}

    def __copy__(self) -> Self:
        """Return a callback of its own, which measures nothing yet."""
        made = type(self).__new__(type(self))
        run = copy.copy(self._own_run)
        vars(made).update({**self.__getstate__(), "_own_run": run, "_latest": run})
        return made

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json`` of the last run that has ended; empty before."""
        return self._latest.summary

    @property
    def _run(self) -> Lifecycle:
        """The run of the innermost call; between calls the one of the next."""
        return self._calls[-1].run if self._calls else self._own_run

    def part(self, name: str) -> AbstractContextManager[None]:
        """Name a part of your own, counted in the phase around it; see :meth:`trainwatt.Tracker.part`."""
        return self._run.part(name)

    def attach(self, trainer: Trainer) -> Self:
        """Measure a Trainer that exists already; not needed if the callback is given to the Trainer's constructor.

        The callback is put before those that report, so that its values are in what they are given.
        """
        callbacks = trainer.callback_handler.callbacks
        if self in callbacks:
            callbacks.remove(self)
        callbacks.insert(0, self)
        report_calls_of(type(trainer))
        return self

    # the runs, by the Trainer's calls

    @contextmanager
    def training(self, trainer: Trainer) -> Iterator[None]:
        """Measure a call of ``train``: a run."""
        if self in trainer.callback_handler.callbacks:
            self.attach(trainer)
        with self._measuring(trainer, None):
            yield

    @contextmanager
    def evaluating(self, trainer: Trainer, phase: Phase, prefix: str) -> Iterator[None]:
        """Measure a call of ``evaluate`` or ``predict``: a phase of a training, or a standalone run."""
        if (call := self._call_of(trainer)) is not None:
            with call.evaluation(phase):
                yield
            return
        with self._measuring(trainer, phase, f"{prefix}_") as call, call.evaluation(phase):
            yield

    @contextmanager
    def saving(self, trainer: Trainer) -> Iterator[None]:
        """Measure the writing of a checkpoint, and put what a resumed training needs into ``trainer_state.json``."""
        with self._failures.contained("the state for a checkpoint", "a training resumed from it counts from zero"):
            put_states(trainer, watchers_of(trainer))
        with self._run.phase("checkpoint"):
            yield

    def finalizing(self, trainer: Trainer) -> None:
        """Take the figures of the last epoch, for the Trainer's last log entry."""
        if (call := self._call_of(trainer)) is not None:
            call.finalize()

    def inferred(self, trainer: Trainer, samples: int | None) -> None:
        """Count evaluated or predicted samples of a standalone run."""
        call = self._call_of(trainer)
        if call is not None and call.kind and call.evaluates:
            call.run.count(samples)

    def card_written(self, trainer: Trainer) -> None:
        """Add the emissions of the training, or of the training so far, to a model card."""
        call = self._call_of(trainer)
        snapshot = call.run.snapshot() if call is not None and not call.kind else None
        add_emissions(trainer, snapshot.summary() if snapshot is not None else self._trained)

    # what a checkpoint holds

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of this callback."""
        with self._failures.contained("the look for the Trainer"):
            if (trainer := calling_trainer()) is not None:
                report_calls_of(type(trainer))
                make_room(trainer, self)
        return {"args": plain(self._options), "attributes": {"measured": self.measured}}

    def restore(self, state: dict[str, Any], *, wanted: bool) -> None:  # energy counts in any case
        """Continue from a checkpoint, with the arguments of this callback."""
        self.measured = attributes_of(state).get("measured")

    @property
    def measured(self) -> dict[str, Any]:
        """What a training that is resumed from now must know of the energy so far; None is nothing."""
        return self._failures.result("the state for a checkpoint", self._run.state_dict, {})

    @measured.setter
    def measured(self, state: dict[str, Any] | None) -> None:
        if state:
            with self._failures.contained("the state in a checkpoint", "counting starts from zero"):
                self._run.load_state_dict(state)

    # hooks

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Attach to the Trainer that has been made."""
        trainer = calling_trainer()
        if trainer is not None and self in trainer.callback_handler.callbacks:
            self.attach(trainer)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the setup; called again if the Trainer restarts with a smaller batch."""
        call = self._call_with(state) or self._begin_late(args, state)
        if call is not None:
            self._focus()
            call.begin_training(args, state, kwargs.get("train_dataloader"))

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin an epoch: the one before has ended with its evaluation and checkpoint."""
        if (call := self._call_with(state)) is not None:
            call.begin_epoch(args, state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note that an epoch's first batch has been loaded."""
        self._begin_batch()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count a step of the optimizer."""
        if state is self._state:
            self._count_step()

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count a batch of an evaluation or a prediction."""
        if state is self._state:
            self._count_batch()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the steps of an epoch; its evaluation and checkpoint follow."""
        if (call := self._call_with(state)) is not None:
            call.end_epoch()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End a training whose call was not seen to begin."""
        call = self._call_with(state)
        if call is not None:
            call.end_training(args, state)
            if call.is_late:
                self._end(call, "finished")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add values to a log entry: with a loss within a training, with the mean loss at its end."""
        call = self._call_with(state)
        if call is not None and logs is not None:
            call.add_to(logs, args, state)

    # what these share

    @contextmanager
    def _measuring(self, trainer: Trainer, kind: Phase | None, prefix: str = "") -> Iterator[MeasuredCall]:
        call = self._begin(MeasuredCall(self._next_run(), trainer, kind), trainer)
        try:
            yield call
        except BaseException as error:
            self._end(call, status_of(error))
            raise
        snapshot = self._end(call, "finished")
        if kind:
            values = snapshot.inference_metrics(kind, prefix) if snapshot is not None else {}
            log_entry(trainer, values, on_all_ranks=bool(call.is_together))

    def _begin(self, call: MeasuredCall, trainer: Trainer) -> MeasuredCall:
        """Start the run of a call."""
        self._failures = Failures()
        if not self._warned and trainer.is_world_process_zero():
            self._warned = warn_of_codecarbon(trainer)
        call.open(trainer.args, "monitor", call_of(trainer) if call.is_late else None)
        self._calls.append(call)
        self._focus()
        return call

    def _begin_late(self, args: TrainingArguments, state: TrainerState) -> MeasuredCall | None:
        """Start the run of a Trainer that is not transformers' own, or has a ``train`` that cannot be wrapped."""
        trainer = calling_trainer()
        if trainer is not None and monitor_of(trainer) not in (self, None):
            # another one measures
            return None
        call = MeasuredCall(self._next_run(), trainer, is_late=True)
        call.state = state
        if trainer is not None:
            if self in trainer.callback_handler.callbacks:
                self.attach(trainer)
            return self._begin(call, trainer)
        _log.warning(
            "trainwatt: this is not a transformers.Trainer: its evaluations and checkpoints are charged to the phase "
            "that they interrupt, and callbacks that report before this one do not get its values."
        )
        call.open(args, "monitor")
        self._calls.append(call)
        self._focus()
        return call

    def _next_run(self) -> Lifecycle:
        """Return what measures the next call: within another call a run of its own."""
        for call in reversed(self._calls):
            trainer = call.trainer
            if call.is_late and (trainer is None or call_of(trainer) is None):
                # its call was cut short, of which no hook tells
                self._end(call, "interrupted")
        return Lifecycle(self._write_line, **self._options) if self._calls else self._own_run

    def _end(self, call: MeasuredCall, status: Status) -> RunSnapshot | None:
        """End the run of a call, and those of calls within it that were left without an end."""
        if call not in self._calls:
            return None
        while self._calls[-1] is not call:
            self._end(self._calls[-1], "interrupted")
        self._latest = call.run
        snapshot = call.close(status)
        self._calls.pop()
        self._focus()
        if not call.kind:
            self._trained = call.run.summary
        return snapshot

    def _focus(self) -> None:
        """Prepare the hooks of every step, which have no time to look for the call."""
        call = self._calls[-1] if self._calls else None
        self._state = call.state if call is not None else None
        self._begin_batch = call.run.begin_batch if call is not None else _nothing
        self._count_step: Callable[[], object] = call.run.step if call is not None else _nothing
        self._count_batch = call.count_batch if call is not None else _nothing

    def _call_of(self, trainer: Trainer) -> MeasuredCall | None:
        """Return the innermost call if it is of a Trainer."""
        call = self._calls[-1] if self._calls else None
        return call if call is not None and call.trainer is trainer else None

    def _call_with(self, state: TrainerState) -> MeasuredCall | None:
        """Return the innermost call if it has a state."""
        call = self._calls[-1] if self._calls else None
        return call if call is not None and call.is_of(state) else None

    def _write_line(self, line: str) -> None:
        """Write above the progress bar."""
        bars = self._calls[-1].bars() if self._calls else []
        write: Callable[[str], object] = bars[0].write if bars else console.write_line
        write(line)
