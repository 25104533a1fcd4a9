"""The Trainer's callback: hooks in, log values out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import CodeCarbonCallback

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.live import Provider
from trainwatt.power.device import KINDS
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting.artifacts import ExperimentTracker, attach, found
from trainwatt.reporting.progress_bar import bar_texts
from trainwatt.reporting.run_sinks import run_sinks
from trainwatt.site import Site
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.tracker import Tracker, status_of
from trainwatt_transformers.experiment_trackers import trackers_at_the_start, trackers_of
from trainwatt_transformers.instrumented_trainer import calling_trainer, gpu_uuids, log_entry, measure, meter_of
from trainwatt_transformers.model_card import add_emissions
from trainwatt_transformers.plan import plan_of
from trainwatt_transformers.process_group import process_group_of

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger("trainwatt")

_STATE = "trainwatt"  # among the states of callbacks, of which transformers itself restores none unless it is asked to


class FootprintCallback(TrainerCallback):
    """Measures the energy of a training and logs it, with its footprint, to all that the Trainer reports to.

    Each call of ``train``, and of ``evaluate`` or ``predict`` outside it, is a run. Values are in the Trainer's own log
    entries with a loss, in an entry at the end of each epoch, and in the Trainer's last entry.

    Args:
        zone: where the run happens: a country (``"FR"``) or a subdivision (``"US-CA"``). None: see ``cloud``, then what
            the environment tells, then the world's average.
        cloud: a cloud region, such as ``"gcp/europe-west9"``.
        pue: power usage effectiveness of the data centre, at least 1.
        wue: water that the data centre uses, in litres per kWh.
        tariff: price of electricity per kWh.
        carbon_intensity: of the electricity, in gCO2e per kWh; or a live source, one of :mod:`trainwatt.live` or its
            short name: ``"electricitymaps"``, ``"gb"``, ``"dk"``.
        site: a :class:`trainwatt.Site`, instead of all of these.
        expected_requests: how often the model is going to be asked, for the part of training in the energy of its life;
            told after an evaluation, test or prediction by itself that follows a training with the same object.
        devices: what to measure: any of ``"gpu"``, ``"cpu"``, ``"ram"``.
        scope: ``"machine"``, or ``"process"`` for our share of a shared machine's CPU.
        interval: at most this many seconds between samples.
        idle_w: watts of the processor at rest, where it can only be estimated.
        full_w: watts of the processor at full load, where it can only be estimated.
        project_after: from when on the whole run is projected: ``"epoch"``, the first one, or where that may be the
            whole run, its first 50 steps or 1 %; a number of steps; None: never.
        prog_bar: whether the progress bar shows the energy, so far and of the whole run, and where it has room the
            emissions.
        verbose: whether to print the projection and, at the end of a run, a summary.
        output_dir: where run folders are made; None: no run folder.
        run_name: the run folder's name; None: the start time.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    def __init__(
        self,
        *,
        zone: str | None = None,
        cloud: str | None = None,
        pue: float | None = None,
        wue: float | None = None,
        tariff: float | None = None,
        carbon_intensity: float | str | Provider | None = None,
        site: Site | None = None,
        expected_requests: float | None = None,
        devices: Sequence[str] = KINDS,
        scope: str = "machine",
        interval: float = 1.0,
        idle_w: float | None = None,
        full_w: float | None = None,
        project_after: int | str | None = "epoch",
        prog_bar: bool = True,
        verbose: bool = True,
        output_dir: str | os.PathLike[str] | None = "footprint",
        run_name: str | None = None,
    ) -> None:
        super().__init__()
        settings = Settings.check(
            zone=zone,
            cloud=cloud,
            pue=pue,
            wue=wue,
            tariff=tariff,
            carbon_intensity=carbon_intensity,
            site=site,
            expected_requests=expected_requests,
            devices=devices,
            scope=scope,
            interval=interval,
            idle_w=idle_w,
            full_w=full_w,
            project_after=project_after,
            verbose=verbose,
            output_dir=output_dir,
            run_name=run_name,
        )
        self._prog_bar = prog_bar
        self._tracker = Tracker(settings, run_sinks(settings, self._say))
        self._trainer: Trainer | None = None  # while it is being measured
        self._late = self._alone = self._evaluating = self._epoch_over = self._told = self._new_epoch = False
        self._epoch: int | None = None
        self._step_tokens = self._epoch_tokens = 0
        self._trackers: list[ExperimentTracker] | None = None  # None: not looked for in this run
        self._by_itself = False  # an evaluation outside a training
        self._trained: dict[str, Any] = {}  # the summary of the last training

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds, of the last run that has ended; empty before."""
        return self._tracker.summary

    def attach(self, trainer: Trainer) -> Self:
        """Measure a Trainer that exists already.

        It needs not be called where the callback is given to the Trainer's constructor. Puts the callback before those
        that report, so that its values are in what they are given.
        """
        callbacks = trainer.callback_handler.callbacks
        if self in callbacks:
            callbacks.remove(self)
        callbacks.insert(0, self)
        measure(trainer)
        return self

    # the run, told by the Trainer's calls

    @contextmanager
    def training(self, trainer: Trainer) -> Iterator[None]:
        """A call of ``train``: a run."""
        with self._measuring(trainer, None):
            self._tracker.begin("setup")
            yield
        self._trained = self._tracker.summary

    @contextmanager
    def evaluating(self, trainer: Trainer, phase: Phase, prefix: str) -> Iterator[None]:
        """A call of ``evaluate`` or ``predict``: a phase of a training, or a run by itself."""
        if self._evaluating:  # one of several data sets
            yield
            return
        self._evaluating, self._by_itself = True, self._trainer is None
        try:
            with (
                nullcontext() if self._trainer else self._measuring(trainer, phase, prefix),
                self._tracker.phase(phase),
            ):
                yield
        finally:
            self._evaluating = False

    @contextmanager
    def saving(self) -> Iterator[None]:
        """A checkpoint is being written: what a resumed training goes on from is in its ``trainer_state.json``."""
        if self._trainer is not None and (state := self._tracker.state_dict()):
            _states(self._trainer.state)[_STATE] = state
        with self._tracker.phase("checkpoint"):
            yield

    def inferred(self, samples: int | None) -> None:
        """So many samples have been evaluated or predicted, counted where that was not within a training."""
        if self._by_itself and self._evaluating:
            self._tracker.count(samples)

    def card_written(self, trainer: Trainer) -> None:
        """A model card has been written: it gets the emissions of the training, or of the training so far."""
        snapshot = self._tracker.snapshot() if self._trainer is not None and not self._evaluating else None
        add_emissions(trainer, snapshot.summary() if snapshot is not None else self._trained)

    # the phases of a training, told by its hooks

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A Trainer has been made."""
        trainer = calling_trainer(self)
        if trainer is not None:
            self.attach(trainer)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """All is set up; once more where the Trainer begins anew with a smaller batch."""
        if self._trainer is None:
            self._begin_late(args)
        self._tracker.end("setup")
        self._tracker.end("train")
        self._epoch, self._epoch_over = int(state.epoch or 0), False
        self._step_tokens = self._epoch_tokens = state.num_input_tokens_seen
        self._tracker.load_state_dict(_states(state).pop(_STATE, {}))
        if self._trainer is not None:
            callbacks = self._trainer.callback_handler.callbacks
            loader = kwargs.get("train_dataloader")
            self._tracker.plan(plan_of(args, state, loader, self._trainer.eval_dataset, callbacks))

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An epoch begins, and so the one before has ended with its evaluation and checkpoint."""
        if self._epoch_over:
            values = self._epoch_values(state)
            if self._trainer is not None and args.logging_strategy != "no":
                log_entry(self._trainer, values)
        if (trainer := self._trainer) is not None and self._trackers is None and state.is_world_process_zero:
            self._trackers = found(lambda: trackers_at_the_start(trainer, self._tracker.snapshot()))
        self._tracker.begin("train", epoch=self._epoch)
        self._epoch = None  # those that follow are counted on
        self._new_epoch = True

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An epoch's first batch has been loaded."""
        if self._new_epoch:
            self._new_epoch = False
            self._tracker.batch(0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A step of the optimizer."""
        self._tracker.step()

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A batch of an evaluation or a prediction, counted as a step where it is not one within a training."""
        if self._alone:
            self._tracker.step()
        else:
            self._tracker.batch()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The steps of an epoch are made; its evaluation and checkpoint follow."""
        self._tracker.end("train")
        self._epoch_over = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The end of a training whose call was not seen to begin."""
        if self._late:
            self._late = False
            self._stop("finished")
            self._trained = self._tracker.summary

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The Trainer logs: with a loss within a training, with the mean loss at its end."""
        if not self._tracker.running or logs is None or self._evaluating:
            return
        if "loss" in logs:
            _add(self._step_values(state), logs, state)
        elif "train_loss" in logs:
            _add(self._epoch_values(state), logs, state)

    # what these share

    @contextmanager
    def _measuring(self, trainer: Trainer, phase: Phase | None, prefix: str = "") -> Iterator[None]:
        try:
            self._start(trainer, phase or "")
            yield
        except BaseException as error:
            self._stop(status_of(error))
            raise
        snapshot = self._stop("finished")
        if phase:
            metrics = snapshot.inference_metrics(phase) if snapshot else {}
            log_entry(trainer, {f"{prefix}_{name}": value for name, value in metrics.items()})

    def _start(self, trainer: Trainer, kind: str) -> None:
        self._trainer, self._alone = trainer, kind != ""
        others = trainer.callback_handler.callbacks
        other = any(isinstance(callback, CodeCarbonCallback) for callback in others)
        if other and not self._told and trainer.is_world_process_zero():
            self._told = True
            _log.warning(
                "trainwatt: CodeCarbon measures this training too. Neither disturbs the other; to pay for one only, "
                "take 'codecarbon' out of report_to."
            )
        self._trackers = found(lambda: trackers_of(trainer)) if kind and trainer.is_world_process_zero() else None
        self._tracker.start(kind, gpu_uuids=gpu_uuids(trainer), processes=process_group_of(trainer.args))

    def _stop(self, status: Status) -> RunSnapshot | None:
        self._trainer, self._alone = None, False
        snapshot = self._tracker.stop(status, together=status == "finished")
        if snapshot is not None:
            attach(self._tracker.summary, self._trackers or [])
        return snapshot

    def _begin_late(self, args: TrainingArguments) -> None:
        """A callback that was added to a Trainer, or serves one that is not transformers' own, is first called here."""
        trainer = calling_trainer(self)
        if trainer is None:
            _log.warning(
                "trainwatt: this is not a transformers.Trainer: its evaluations and checkpoints are counted as what "
                "they interrupt, and values come too late for what was to report before this callback."
            )
            self._tracker.start(processes=process_group_of(args))
        elif meter_of(trainer) is self:
            self.attach(trainer)
            self._start(trainer, "")
        else:  # another one measures
            return
        self._late = True

    def _step_values(self, state: TrainerState) -> dict[str, float]:
        """The training since this was last called."""
        snapshot, tokens = self._tracker.step_snapshot(), state.num_input_tokens_seen - self._step_tokens
        self._step_tokens = state.num_input_tokens_seen
        values = snapshot.step_metrics() | _per_token(snapshot.recent, tokens) if snapshot else {}
        self._show(snapshot)
        return values

    def _epoch_values(self, state: TrainerState) -> dict[str, float]:
        """The run up to the end of an epoch, and this epoch."""
        snapshot, tokens = self._tracker.end_epoch(), state.num_input_tokens_seen - self._epoch_tokens
        self._epoch_tokens, self._epoch_over = state.num_input_tokens_seen, False
        values = snapshot.metrics() | _per_token(snapshot.epoch.get("train", Span()), tokens) if snapshot else {}
        self._show(snapshot)
        return values

    def _say(self, line: str) -> None:
        """Above the progress bar."""
        callbacks = self._trainer.callback_handler.callbacks if self._trainer else []
        bars: list[Any] = [each.training_bar for each in callbacks if isinstance(each, ProgressCallback)]
        write = next((bar.write for bar in bars if bar is not None), print)
        write(line)

    def _show(self, snapshot: RunSnapshot | None) -> None:
        """On transformers' own progress bar."""
        if not (self._prog_bar and snapshot and self._trainer):
            return
        for callback in self._trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
                callback.training_bar.set_postfix(bar_texts(snapshot.metrics()), refresh=False)


def _add(values: dict[str, float], logs: dict[str, Any], state: TrainerState) -> None:
    """Into what reporters are given, and into the history, which has a copy of it."""
    history: list[dict[str, Any]] = state.log_history
    if history and logs.items() <= history[-1].items():
        history[-1].update(values)
    logs.update(values)


def _states(state: TrainerState) -> dict[str, Any]:
    """Of callbacks, as a checkpoint holds them."""
    states: Any = state.stateful_callbacks
    return states if isinstance(states, dict) else {}


def _per_token(train: Span, tokens: int) -> dict[str, float]:
    return {"energy/token_j": train.total_j / tokens} if tokens > 0 else {}
