"""The Lightning callback: a translation of hooks into lifecycle calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

import torch

from trainwatt.accounting.timeline import Phase
from trainwatt.callbacks.lifecycle import Lifecycle, first_leaf
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting.progress_bar import UNITS
from trainwatt.tracking.tracker import status_of
from trainwatt_lightning.compat import Callback, LightningModule, Trainer
from trainwatt_lightning.output import close_rich_bar, experiment_trackers, log
from trainwatt_lightning.plan import plan_of
from trainwatt_lightning.process_group import process_group_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.options import MonitorOptions

_STATES = "trainwatt"  # the key in a checkpoint


class FootprintMonitor(Callback):
    """Energy monitor that logs energy and footprint to the Trainer's own loggers.

    Each call of ``fit``, ``validate``, ``test`` or ``predict`` is a run. Values are logged at the end of every epoch
    and evaluation, where they also become ``trainer.callback_metrics``, and every ``log_every_n_steps``.

    Args:
        options: location, devices, output and projection; see :class:`trainwatt.tracking.options.MonitorOptions`,
            :class:`trainwatt.tracking.options.Options` and :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    def __init__(self, **options: Unpack[MonitorOptions]) -> None:
        super().__init__()
        self._run = Lifecycle(self._write_line, **options)
        self._print: Callable[[str], object] = print  # above the progress bar, if there is one
        self._batches = 0

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json`` of the last run that has ended; empty before."""
        return self._run.summary

    def part(self, name: str) -> AbstractContextManager[None]:
        """Name a part of your own, counted in the phase around it; see :meth:`trainwatt.Tracker.part`."""
        return self._run.part(name)

    # the run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start a run."""
        self._run.open(
            "" if stage == "fit" else stage,
            trains_on=[trainer.strategy.root_device],
            group=process_group_of(trainer),
            experiment_trackers=lambda: experiment_trackers(trainer),
        )
        self._batches = 0
        bar = trainer.progress_bar_callback
        self._print = print if bar is None else bar.print
        # No hook tells when a checkpoint has been written, so the Trainer's own method is timed.
        trainer.save_checkpoint = self._run.timed(trainer.save_checkpoint)  # type: ignore[method-assign]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End a run."""
        self._finish(trainer, "finished", together=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End a run that was cut short."""
        self._finish(trainer, status_of(exception))

    # a checkpoint: Lightning lets only one callback of a kind have a state_dict, and a Trainer may have two monitors

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save what a resumed training continues from."""
        checkpoint.setdefault(_STATES, {})[self._number(trainer)] = self._run.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue from a checkpoint; lost work is read from the run folder of that time."""
        self._run.load_state_dict(checkpoint.get(_STATES, {}).get(self._number(trainer), {}))

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
        self._batches += 1
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's connectors
        if every and self._batches % every == 0:
            snapshot = self._run.step_snapshot() if trainer.loggers or self._has_bar(trainer) else None
            if snapshot is not None:
                log(trainer, snapshot.step_metrics(), step=trainer.global_step)
                self._show(trainer, snapshot.metrics())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End an epoch, its evaluation included."""
        self._run.end_steps()
        metrics = self._publish(trainer, self._run.end_epoch())
        # Lightning logs the metrics of the epoch under this step.
        log(trainer, metrics, step=max(0, trainer.global_step - 1))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter an evaluation, in an epoch or standalone."""
        if not trainer.sanity_checking:
            self._run.begin_inference("validate")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish the energy up to an evaluation with its metrics, so that a checkpoint can be chosen by both."""
        if not trainer.sanity_checking:
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
            self._run.count(_samples(trainer, batch))

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count the samples of a test or a prediction."""
        self._run.count(_samples(trainer, batch))

    on_predict_batch_start = on_test_batch_start

    # what the hooks share

    def _begin_epoch(self, trainer: Trainer, skipped: int = 0) -> None:
        self._run.plan_once(lambda: plan_of(trainer, skipped))
        self._run.begin_epoch(trainer.current_epoch)

    def _write_line(self, line: str) -> None:
        self._print(line)

    def _number(self, trainer: Trainer) -> str:
        """Return the number of this monitor among those of the Trainer."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning's connectors
        return str([each for each in callbacks if isinstance(each, FootprintMonitor)].index(self))

    def _publish(self, trainer: Trainer, snapshot: RunSnapshot | None) -> dict[str, float]:
        """Hand the values to other callbacks and to the progress bar.

        As Lightning's LearningRateMonitor does it: through the module each value would take a third of a millisecond.
        """
        metrics = {} if snapshot is None else snapshot.metrics()
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})
        self._show(trainer, metrics)
        return metrics

    def _show(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """Show values on the progress bar, in the units that read best now."""
        if metrics and self._has_bar(trainer):
            shown: dict[str, Any] = trainer.progress_bar_metrics
            for unit in UNITS:
                shown.pop(unit, None)
            shown.update(self._run.bar(metrics))

    def _has_bar(self, trainer: Trainer) -> bool:
        return self._run.shows_bar and trainer.progress_bar_callback is not None

    def _finish(self, trainer: Trainer, status: Status, *, together: bool = False) -> None:
        trainer.__dict__.pop("save_checkpoint", None)
        close_rich_bar(trainer)
        self._print = print
        snapshot = self._run.close(status, together=together)
        if snapshot is not None and trainer.state.fn in ("validate", "test", "predict"):
            phase = cast(Phase, trainer.state.fn.value)
            log(trainer, snapshot.inference_metrics(phase), step=trainer.global_step)


def _samples(trainer: Trainer, batch: Any) -> int | None:
    """Return the number of samples in a batch, by its first tensor; None if unknown, or in a job of several ranks."""
    leaf = first_leaf(batch)
    return len(leaf) if isinstance(leaf, torch.Tensor) and leaf.dim() and trainer.world_size == 1 else None
