"""The Lightning callback: a translation of hooks into lifecycle calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from trainwatt.accounting.timeline import Phase
from trainwatt.callbacks.lifecycle import Lifecycle, first_leaf
from trainwatt.callbacks.replaced_method import ReplacedMethod
from trainwatt.containment import Failures
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting import console
from trainwatt.reporting.progress_bar import UNITS
from trainwatt.tracking.outcome import status_of
from trainwatt_lightning.compat import Callback, LightningModule, Trainer, bind
from trainwatt_lightning.output import (
    bar_metrics,
    callback_metrics,
    close_rich_bar,
    experiment_trackers,
    log,
    logs_now,
    step_of,
    step_of_epoch,
    trainers_call,
)
from trainwatt_lightning.plan import plan_of
from trainwatt_lightning.process_group import process_group_of
from trainwatt_lightning.state_keys import Numbered

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.options import MonitorOptions


class _Measured(NamedTuple):
    """Call of a Trainer that is being measured."""

    trainer: Any
    run: Lifecycle
    saving: ReplacedMethod | None
    write: Callable[[str], object]


class FootprintMonitor(Numbered, Callback):
    """Energy monitor that logs energy and footprint to the Trainer's own loggers.

    Each call of ``fit``, ``validate``, ``test`` or ``predict`` is a run. Values are logged at the end of every epoch
    and evaluation, where they also become ``trainer.callback_metrics``, and every ``log_every_n_steps``.

    Args:
        options: location, devices, output and projection; see :class:`trainwatt.tracking.options.MonitorOptions`,
            :class:`trainwatt.tracking.options.Options` and :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    kind = "FootprintMonitor"

    def __init__(self, **options: Unpack[MonitorOptions]) -> None:
        super().__init__()
        bind()
        self._options = options
        self._run = self._latest = Lifecycle(self._write_line, **options)
        self._failures = Failures()
        self._print: Callable[[str], object] = console.write_line  # above the progress bar, if there is one
        self._trainer: Trainer | None = None  # while it is being measured
        self._saving: ReplacedMethod | None = None
        self._outer: list[_Measured] = []  # Trainers in whose call the present one was called

    def _idle(self) -> dict[str, Any]:
        outermost = self._outer[0].run if self._outer else self._run
        none = {"_trainer": None, "_saving": None, "_print": console.write_line, "_failures": Failures()}
        return {**super()._idle(), **none, "_outer": [], "_run": outermost}

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json`` of the last run that has ended; empty before."""
        return self._latest.summary

    def part(self, name: str) -> AbstractContextManager[None]:
        """Name a part of your own, counted in the phase around it; see :meth:`trainwatt.Tracker.part`."""
        return self._run.part(name)

    # the run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start a run."""
        self._set_aside(trainer)
        self.enroll(trainer)
        self._trainer, self._failures = trainer, Failures()
        bar = trainer.progress_bar_callback
        self._print = console.write_line if bar is None else bar.print
        self._run.open(
            "" if stage == "fit" else stage,
            trains_on=[trainer.strategy.root_device],
            group=process_group_of(trainer, f"monitor {self.number}"),
            experiment_trackers=lambda: experiment_trackers(trainer),
            call=trainers_call(),
        )
        # No hook tells when a checkpoint has been written, so the Trainer's own method is timed.
        self._saving = ReplacedMethod(trainer, "save_checkpoint", self._run.timed)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End a run."""
        self._finish(trainer, "finished", together=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End a run that was cut short."""
        self._finish(trainer, status_of(exception))

    # a checkpoint

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training continues from."""
        return self._failures.result("the state for a checkpoint", self._run.state_dict, {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint; lost work is read from the run folder of that time."""
        with self._failures.contained("the state in a checkpoint", "counting starts from zero"):
            self._run.load_state_dict(state_dict)

    # phases

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the sanity check."""
        self._run.begin("sanity_check")

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the sanity check."""
        self._run.end("sanity_check")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the setup."""
        self._run.end("setup")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch."""
        self._begin_epoch(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin a batch; a run that is resumed within an epoch gets no ``on_train_epoch_start``."""
        if not self._run.in_epoch:
            self._begin_epoch(trainer, skipped=batch_idx)
        self._run.begin_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step; log its energy as often as the Trainer logs."""
        self._run.step()
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's connectors
        try:
            # not by a function: this is the one line that every step pays for
            if every and not (trainer.fit_loop.epoch_loop._batches_that_stepped + 1) % every and logs_now(trainer):  # noqa: SLF001
                self._log_step(trainer)
        except Exception:  # noqa: BLE001  # this hook is called too often for a wrapper
            self._failures.failed("values within an epoch", "those of the epochs are logged")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End an epoch, its evaluation included."""
        self._run.end_steps()
        metrics = self._publish(trainer, self._run.end_epoch())
        if trainer.is_global_zero:
            log(trainer, metrics, step_of_epoch(trainer), self._failures)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter an evaluation, in an epoch or standalone."""
        if not trainer.sanity_checking:
            self._run.begin_inference("validate")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish the energy up to an evaluation with its metrics, so that a checkpoint can be chosen by both."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._run.exchange()
            self._publish(trainer, self._run.snapshot())

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Count a batch of an evaluation; it is a step unless a training is going on."""
        if trainer.state.fn == "validate":
            self._run.step()
        else:
            self._run.batch()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave an evaluation."""
        if not trainer.sanity_checking:
            self._run.end("validate")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter a test."""
        self._run.begin_inference("test")

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Count a step of a test or a prediction."""
        self._run.step()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a test."""
        self._run.end("test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter a prediction."""
        self._run.begin_inference("predict")

    on_predict_batch_end = on_test_batch_end

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a prediction."""
        self._run.end("predict")

    # samples of a standalone evaluation, test or prediction

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        """Count the samples of a standalone evaluation."""
        if trainer.state.fn == "validate":
            self._count(trainer, batch)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count the samples of a test or a prediction."""
        self._count(trainer, batch)

    on_predict_batch_start = on_test_batch_start

    # what the hooks share

    def _begin_epoch(self, trainer: Trainer, skipped: int = 0) -> None:
        self._run.plan_once(lambda: plan_of(trainer, skipped))
        self._run.begin_epoch(trainer.current_epoch)

    def _write_line(self, line: str) -> None:
        self._print(line)

    def _set_aside(self, trainer: Trainer) -> None:
        """Keep the run of a Trainer in whose call this one is called, and measure this one in a run of its own."""
        outer = self._trainer
        if outer is None or outer is trainer or outer.state.status != "running" or not self._run.running:
            self._end_saving()
            return
        self._outer.append(_Measured(outer, self._run, self._saving, self._print))
        self._saving = None
        self._run = Lifecycle(self._write_line, **self._options)

    def _end_saving(self) -> None:
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.restore()

    def _count(self, trainer: Trainer, batch: Any) -> None:
        try:
            self._run.count(_samples(trainer, batch))
        except Exception:  # noqa: BLE001  # a batch may be of any class
            self._failures.failed("the number of samples in a batch", "the energy per sample is unknown")
            self._run.count(None)

    def _log_step(self, trainer: Trainer) -> None:
        snapshot = self._run.step_snapshot() if trainer.loggers or self._has_bar(trainer) else None
        if snapshot is not None:
            log(trainer, snapshot.step_metrics(), step_of(trainer), self._failures)
            self._show(trainer, snapshot.metrics())

    def _publish(self, trainer: Trainer, snapshot: RunSnapshot | None) -> dict[str, float]:
        """Hand the values of rank 0 to the other callbacks of every rank, and to the progress bar.

        As Lightning's LearningRateMonitor does it: through the module each value would take a third of a millisecond.
        """
        # The others wait for them, whatever fails.
        none: dict[str, float] = {}
        own = self._failures.result("the values of an epoch", lambda: snapshot.metrics() if snapshot else none, none)
        metrics = self._run.share(own)
        callback_metrics(trainer).update({name: torch.tensor(value) for name, value in metrics.items()})
        self._show(trainer, metrics)
        return metrics

    def _show(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """Show values on the progress bar, in the units that read best now."""
        if metrics and self._has_bar(trainer):
            shown = bar_metrics(trainer)
            for unit in UNITS:
                shown.pop(unit, None)
            shown.update(self._run.bar(metrics))

    def _has_bar(self, trainer: Trainer) -> bool:
        return self._run.shows_bar and trainer.progress_bar_callback is not None

    def _finish(self, trainer: Trainer, status: Status, *, together: bool = False) -> None:
        """End the run of a Trainer; without one, do nothing."""
        while self._outer and self._trainer is not trainer and any(each.trainer is trainer for each in self._outer):
            # a call within this one that was left without an end
            self._end("interrupted", together=False)
        if self._trainer is trainer:
            with self._failures.contained("closing the progress bar"):
                close_rich_bar(trainer)
            self._end(status, together=together)

    def _end(self, status: Status, *, together: bool) -> None:
        trainer, self._latest = cast("Any", self._trainer), self._run
        self._end_saving()
        self._print = console.write_line
        snapshot = self._run.close(status, together=together)
        if self._outer:
            self._trainer, self._run, self._saving, self._print = self._outer.pop()
        else:
            self._trainer = None
        if snapshot is not None and trainer.state.fn in ("validate", "test", "predict"):
            metrics = snapshot.inference_metrics(cast("Phase", trainer.state.fn.value))
            callback_metrics(trainer).update({name: torch.tensor(value) for name, value in metrics.items()})
            log(trainer, metrics, step_of(trainer), self._failures)


def _samples(trainer: Trainer, batch: Any) -> int | None:
    """Return the number of samples in a batch, by its first tensor; None if unknown, or in a job of several ranks."""
    leaf = first_leaf(batch)
    return len(leaf) if isinstance(leaf, torch.Tensor) and leaf.dim() and trainer.world_size == 1 else None
