"""One call of a Trainer that is being measured: a translation of hooks into lifecycle calls."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback, Trainer, TrainerState, TrainingArguments

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting.artifacts import found
from trainwatt_transformers.experiment_trackers import trackers_at_the_start, trackers_of
from trainwatt_transformers.plan import plan_of
from trainwatt_transformers.process_group import process_group_of
from trainwatt_transformers.trainer_calls import all_callbacks
from trainwatt_transformers.trainer_state import add_values, devices_of, log_entry, per_token

if TYPE_CHECKING:
    from trainwatt.reporting.artifacts import ExperimentTracker

# hooks that precede the Trainer's last log entry only in transformers 5
_TELLS_THE_END = "_finalize_training"


class MeasuredCall:
    """Call of ``train``, or of ``evaluate`` or ``predict`` outside it: a run.

    Args:
        run: measures it.
        trainer: the Trainer; None if it is not transformers' own. It is not kept alive.
        kind: ``"validate"``, ``"test"`` or ``"predict"``; None: a training.
        is_late: True if the beginning of the call was missed, so that its end will be too.

    Attributes:
        state: the Trainer's state, which is another one for each training.
        evaluates: True within an evaluation or a prediction.
        is_together: True if all ranks of the job measure; None: not asked yet.
    """

    def __init__(
        self, run: Lifecycle, trainer: Trainer | None, kind: Phase | None = None, *, is_late: bool = False
    ) -> None:
        self.run, self.kind, self.is_late = run, kind, is_late
        self._trainer = weakref.ref(trainer) if trainer is not None else None
        self.state: TrainerState | None = trainer.state if trainer is not None else None
        self.evaluates = False
        self._epoch_is_over = False
        self._epoch: int | None = None
        self._step_tokens = self._epoch_tokens = 0
        self._trackers: list[ExperimentTracker] | None = None  # None: not looked for in this run
        self._last: dict[str, float] | None = None  # of the Trainer's last entry, before it is logged
        self.is_together: bool | None = None

    @property
    def trainer(self) -> Trainer | None:
        """The Trainer; None if it is not transformers' own, or has been deleted."""
        return self._trainer() if self._trainer is not None else None

    def is_of(self, state: TrainerState) -> bool:
        """Return True if this call has a state, and take note of the one with which its training begins."""
        trainer = self.trainer
        if trainer is not None and trainer.state is state:
            self.state = state
        return self.state is state

    def open(self, args: TrainingArguments, channel: str, call: FrameType | None = None) -> None:
        """Start the run.

        Args:
            args: the training arguments.
            channel: name of the callback, the same on all ranks.
            call: frame of the Trainer's call, if its end will not be told.
        """
        trainer = self.trainer
        if self.kind and self.run.attaches and trainer is not None and trainer.is_world_process_zero():
            self._trackers = found(lambda: trackers_of(trainer))
        self.run.open(
            self.kind or "",
            trains_on=devices_of(trainer) if trainer is not None else [args.device],
            group=process_group_of(args, channel),
            experiment_trackers=lambda: self._trackers or [],
            setup=not (self.kind or self.is_late),
            call=call,
        )

    def close(self, status: Status) -> RunSnapshot | None:
        """End the run."""
        together = status == "finished"
        if together and self.kind:
            self.is_together = self.run.agree(stop=True)
        return self.run.close(status, together=together)

    @contextmanager
    def evaluation(self, phase: Phase) -> Iterator[None]:
        """Surround an evaluation or a prediction; one within another is a part of it."""
        if self.evaluates:
            yield
            return
        self.evaluates = True
        try:
            with self.run.phase(phase):
                yield
        finally:
            self.evaluates = False

    # the phases of a training

    def begin_training(self, args: TrainingArguments, state: TrainerState, loader: Any) -> None:
        """End the setup; called again if the Trainer restarts with a smaller batch."""
        self.run.end("setup")
        self.run.end("train")
        self._epoch, self._epoch_is_over, self._last = int(state.epoch or 0), False, None
        self._step_tokens = self._epoch_tokens = state.num_input_tokens_seen
        trainer = self.trainer
        if trainer is not None:
            plan = plan_of(args, state, loader, trainer.eval_dataset, all_callbacks(trainer))
            self.run.plan(plan, from_now=True)

    def begin_epoch(self, args: TrainingArguments, state: TrainerState) -> None:
        """Begin an epoch: the one before has ended with its evaluation and checkpoint."""
        if self._epoch_is_over:
            self._log_epoch(args, state)
        trainer = self.trainer
        is_asked = self.run.attaches and self._trackers is None and state.is_world_process_zero
        if trainer is not None and is_asked:
            self._trackers = found(lambda: trackers_at_the_start(trainer, self.run.snapshot()))
        self.run.begin_epoch(self._epoch)
        self._epoch = None  # later epochs are counted

    def count_batch(self) -> None:
        """Count a batch of an evaluation or a prediction; it is a step unless a training is going on."""
        if self.kind:
            self.run.step()
        else:
            self.run.batch()

    def end_epoch(self) -> None:
        """End the steps of an epoch; its evaluation and checkpoint follow."""
        self.run.end_steps()
        self._epoch_is_over = True

    def finalize(self) -> None:
        """Take the figures of the last epoch, for the Trainer's last entry."""
        if self.state is not None and not self.kind:
            self._last = self._epoch_values(self.state)

    def end_training(self, args: TrainingArguments, state: TrainerState) -> None:
        """Log the last epoch, if the Trainer's last entry does not have it."""
        if self._epoch_is_over:
            self._log_epoch(args, state)

    def add_to(self, logs: dict[str, Any], args: TrainingArguments, state: TrainerState) -> None:
        """Add values to a log entry: with a loss within a training, with the mean loss at its end.

        A user may log entries of any names, and on some ranks only. So nothing here waits for other ranks.
        """
        if self.kind or self.evaluates:
            return
        if "loss" in logs:
            add_values(self._step_values(state), logs, state)
        elif "train_loss" in logs and (last := self._take_last(args, state)):
            add_values(last, logs, state)

    def bars(self) -> list[Any]:
        """Return transformers' own progress bars that are open."""
        trainer = self.trainer
        callbacks = trainer.callback_handler.callbacks if trainer is not None else []
        bars = [each.training_bar for each in callbacks if isinstance(each, ProgressCallback)]
        return [bar for bar in bars if bar is not None]

    # what these share

    def _log_epoch(self, args: TrainingArguments, state: TrainerState) -> None:
        values, trainer = self._epoch_values(state), self.trainer
        if trainer is not None and args.logging_strategy != "no":
            log_entry(trainer, values, on_all_ranks=bool(self.is_together))

    def _take_last(self, args: TrainingArguments, state: TrainerState) -> dict[str, float] | None:
        """Return the values of the Trainer's last entry, once; None if this is not that entry."""
        if self._last is None and self._epoch_is_over and args.world_size < 2 and not self._tells_the_end:
            return self._epoch_values(state)
        last, self._last = self._last, None
        return last

    @property
    def _tells_the_end(self) -> bool:
        return hasattr(self.trainer, _TELLS_THE_END)

    def _step_values(self, state: TrainerState) -> dict[str, float]:
        """Return the values of the training since this was last called."""
        snapshot, tokens = self.run.step_snapshot(), state.num_input_tokens_seen - self._step_tokens
        values = snapshot.step_metrics() | per_token(snapshot.recent, tokens) if snapshot else {}
        if snapshot and snapshot.recent.seconds:
            self._step_tokens = state.num_input_tokens_seen
        self._show(snapshot)
        return values

    def _epoch_values(self, state: TrainerState) -> dict[str, float]:
        """Return the values of the run up to the end of an epoch, and of this epoch; the same on all ranks."""
        if self.is_together is None:
            self.is_together = self.run.agree(stop=True)
        snapshot, tokens = self.run.end_epoch(), state.num_input_tokens_seen - self._epoch_tokens
        self._epoch_tokens, self._epoch_is_over = state.num_input_tokens_seen, False
        values = snapshot.metrics() | per_token(snapshot.epoch.get("train", Span()), tokens) if snapshot else {}
        self._show(snapshot)
        return self.run.share(values)

    def _show(self, snapshot: RunSnapshot | None) -> None:
        """Show energy on transformers' own progress bar."""
        if snapshot and self.run.shows_bar:
            for bar in self.bars():
                bar.set_postfix(self.run.bar(snapshot.metrics()), refresh=False)
