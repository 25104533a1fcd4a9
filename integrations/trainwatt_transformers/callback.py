"""The Trainer's callback: a translation of hooks into lifecycle calls."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting.artifacts import found
from trainwatt.tracking.tracker import status_of
from trainwatt_transformers.experiment_trackers import trackers_at_the_start, trackers_of
from trainwatt_transformers.instrumented_trainer import calling_trainer, devices_of, instrument, log_entry, meter_of
from trainwatt_transformers.model_card import add_emissions
from trainwatt_transformers.plan import plan_of
from trainwatt_transformers.process_group import process_group_of
from trainwatt_transformers.trainer_state import add_values, callback_states, per_token, warn_of_codecarbon

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from trainwatt.reporting.artifacts import ExperimentTracker
    from trainwatt.tracking.options import MonitorOptions

_log = logging.getLogger("trainwatt")

# the key among the states of callbacks, none of which transformers itself restores unless it is asked to
_STATE = "trainwatt"


class FootprintCallback(TrainerCallback):
    """Energy monitor that logs energy and footprint to everything that the Trainer reports to.

    Each call of ``train``, and of ``evaluate`` or ``predict`` outside it, is a run. Values are in the Trainer's own log
    entries with a loss, in an entry at the end of each epoch, and in the Trainer's last entry.

    Args:
        options: location, devices, output and projection; see :class:`trainwatt.tracking.options.MonitorOptions`,
            :class:`trainwatt.tracking.options.Options` and :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    def __init__(self, **options: Unpack[MonitorOptions]) -> None:
        super().__init__()
        self._run = Lifecycle(self._write_line, **options)
        self._trainer: Trainer | None = None  # while it is being measured
        self._late = self._alone = self._evaluating = self._epoch_over = self._warned = False
        self._epoch: int | None = None
        self._step_tokens = self._epoch_tokens = 0
        self._experiment_trackers: list[ExperimentTracker] | None = None  # None: not looked for in this run
        self._standalone = False  # an evaluation outside a training
        self._trained: dict[str, Any] = {}  # the summary of the last training

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json`` of the last run that has ended; empty before."""
        return self._run.summary

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
        instrument(trainer)
        return self

    # the run, by the Trainer's calls

    @contextmanager
    def training(self, trainer: Trainer) -> Iterator[None]:
        """Measure a call of ``train``: a run."""
        with self._measuring(trainer, None):
            yield
        self._trained = self._run.summary

    @contextmanager
    def evaluating(self, trainer: Trainer, phase: Phase, prefix: str) -> Iterator[None]:
        """Measure a call of ``evaluate`` or ``predict``: a phase of a training, or a standalone run."""
        if self._evaluating:  # one of several data sets
            yield
            return
        self._evaluating, self._standalone = True, self._trainer is None
        run = nullcontext() if self._trainer else self._measuring(trainer, phase, prefix)
        try:
            with run, self._run.phase(phase):
                yield
        finally:
            self._evaluating = False

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measure the writing of a checkpoint, and put what a resumed training needs into ``trainer_state.json``."""
        if self._trainer is not None and (state := self._run.state_dict()):
            callback_states(self._trainer.state)[_STATE] = state
        with self._run.phase("checkpoint"):
            yield

    def inferred(self, samples: int | None) -> None:
        """Count evaluated or predicted samples of a standalone run."""
        if self._standalone and self._evaluating:
            self._run.count(samples)

    def card_written(self, trainer: Trainer) -> None:
        """Add the emissions of the training, or of the training so far, to a model card."""
        snapshot = self._run.snapshot() if self._trainer is not None and not self._evaluating else None
        add_emissions(trainer, snapshot.summary() if snapshot is not None else self._trained)

    # the phases of a training, by its hooks

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Attach to the Trainer that has been made."""
        trainer = calling_trainer(self)
        if trainer is not None:
            self.attach(trainer)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the setup; called again if the Trainer restarts with a smaller batch."""
        if self._trainer is None:
            self._begin_late(args)
        self._run.end("setup")
        self._run.end("train")
        self._epoch, self._epoch_over = int(state.epoch or 0), False
        self._step_tokens = self._epoch_tokens = state.num_input_tokens_seen
        self._run.load_state_dict(callback_states(state).pop(_STATE, {}))
        if self._trainer is not None:
            callbacks = self._trainer.callback_handler.callbacks
            loader = kwargs.get("train_dataloader")
            plan = plan_of(args, state, loader, self._trainer.eval_dataset, callbacks)
            self._run.plan(plan, from_now=True)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin an epoch: the one before has ended with its evaluation and checkpoint."""
        if self._epoch_over:
            values = self._epoch_values(state)
            if self._trainer is not None and args.logging_strategy != "no":
                log_entry(self._trainer, values)
        if (trainer := self._trainer) is not None and self._experiment_trackers is None and state.is_world_process_zero:
            self._experiment_trackers = found(lambda: trackers_at_the_start(trainer, self._run.snapshot()))
        self._run.begin_epoch(self._epoch)
        self._epoch = None  # later epochs are counted

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note that an epoch's first batch has been loaded."""
        self._run.begin_batch()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count a step of the optimizer."""
        self._run.step()

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count a batch of an evaluation or a prediction; it is a step unless a training is going on."""
        if self._alone:
            self._run.step()
        else:
            self._run.batch()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the steps of an epoch; its evaluation and checkpoint follow."""
        self._run.end_steps()
        self._epoch_over = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End a training whose call was not seen to begin."""
        if self._late:
            self._late = False
            self._stop("finished")
            self._trained = self._run.summary

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add values to a log entry: with a loss within a training, with the mean loss at its end."""
        if not self._run.running or logs is None or self._evaluating:
            return
        if "loss" in logs:
            add_values(self._step_values(state), logs, state)
        elif "train_loss" in logs:
            add_values(self._epoch_values(state), logs, state)

    # what these share

    @contextmanager
    def _measuring(self, trainer: Trainer, phase: Phase | None, prefix: str = "") -> Iterator[None]:
        try:
            self._start(trainer, phase or "", setup=phase is None)
            yield
        except BaseException as error:
            self._stop(status_of(error))
            raise
        snapshot = self._stop("finished")
        if phase:
            metrics = snapshot.inference_metrics(phase) if snapshot else {}
            log_entry(trainer, {f"{prefix}_{name}": value for name, value in metrics.items()})

    def _start(self, trainer: Trainer, kind: str, *, setup: bool) -> None:
        self._trainer, self._alone = trainer, kind != ""
        leads = trainer.is_world_process_zero()
        if leads and not self._warned:
            self._warned = warn_of_codecarbon(trainer)
        self._experiment_trackers = found(lambda: trackers_of(trainer)) if kind and leads else None
        self._open(kind, trainer.args, trains_on=devices_of(trainer), setup=setup)

    def _open(self, kind: str, args: TrainingArguments, **where: Any) -> None:
        trackers = lambda: self._experiment_trackers or []  # noqa: E731
        self._run.open(kind, group=process_group_of(args), experiment_trackers=trackers, **where)

    def _stop(self, status: Status) -> RunSnapshot | None:
        self._trainer, self._alone = None, False
        return self._run.close(status, together=status == "finished")

    def _begin_late(self, args: TrainingArguments) -> None:
        """Start a run for a callback that was added to a Trainer, or serves one that is not transformers' own."""
        trainer = calling_trainer(self)
        if trainer is None:
            _log.warning(
                "trainwatt: this is not a transformers.Trainer: its evaluations and checkpoints are charged to the "
                "phase that they interrupt, and callbacks that report before this one do not get its values."
            )
            self._open("", args, trains_on=[args.device], setup=False)
        elif meter_of(trainer) is self:
            self.attach(trainer)
            self._start(trainer, "", setup=False)
        else:  # another one measures
            return
        self._late = True

    def _step_values(self, state: TrainerState) -> dict[str, float]:
        """Return the values of the training since this was last called."""
        snapshot, tokens = self._run.step_snapshot(), state.num_input_tokens_seen - self._step_tokens
        values = snapshot.step_metrics() | per_token(snapshot.recent, tokens) if snapshot else {}
        if snapshot and snapshot.recent.seconds:
            self._step_tokens = state.num_input_tokens_seen
        self._show(snapshot)
        return values

    def _epoch_values(self, state: TrainerState) -> dict[str, float]:
        """Return the values of the run up to the end of an epoch, and of this epoch."""
        snapshot, tokens = self._run.end_epoch(), state.num_input_tokens_seen - self._epoch_tokens
        self._epoch_tokens, self._epoch_over = state.num_input_tokens_seen, False
        values = snapshot.metrics() | per_token(snapshot.epoch.get("train", Span()), tokens) if snapshot else {}
        self._show(snapshot)
        return values

    def _write_line(self, line: str) -> None:
        """Write above the progress bar."""
        write = next((bar.write for bar in self._bars()), print)
        write(line)

    def _show(self, snapshot: RunSnapshot | None) -> None:
        """Show energy on transformers' own progress bar."""
        if snapshot and self._run.shows_bar:
            for bar in self._bars():
                bar.set_postfix(self._run.bar(snapshot.metrics()), refresh=False)

    def _bars(self) -> list[Any]:
        callbacks = self._trainer.callback_handler.callbacks if self._trainer else []
        bars = [each.training_bar for each in callbacks if isinstance(each, ProgressCallback)]
        return [bar for bar in bars if bar is not None]
