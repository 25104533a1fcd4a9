"""The Lightning callback: hooks in, log values out."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from trainwatt.accounting.timeline import Phase
from trainwatt.live import Provider
from trainwatt.power.device import KINDS
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting.progress_bar import UNITS, bar_texts
from trainwatt.reporting.run_sinks import run_sinks
from trainwatt.site import Site
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.tracker import Tracker, status_of
from trainwatt_lightning.compat import Callback, LightningModule, Trainer
from trainwatt_lightning.plan import plan_of
from trainwatt_lightning.process_group import process_group_of

_STATES = "trainwatt"  # in a checkpoint


class FootprintMonitor(Callback):
    """Measures the energy of a training and logs it, with its footprint, to the Trainer's own loggers.

    Each call of ``fit``, ``validate``, ``test`` or ``predict`` is a run. Values are logged at the end of every
    epoch and evaluation, where they also become ``trainer.callback_metrics``, and every ``log_every_n_steps``.

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
        self._print: Callable[[str], object] = print  # above the progress bar, where there is one
        self._tracker = Tracker(settings, run_sinks(settings, self._say))
        self._batches = 0
        self._in_epoch = self._planned = self._new_epoch = False

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds, of the last run that has ended; empty before."""
        return self._tracker.summary

    # the run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A run begins."""
        self._tracker.start(
            "" if stage == "fit" else stage, gpu_uuids=gpu_uuids(trainer), processes=process_group_of(trainer)
        )
        self._tracker.begin("setup")
        self._batches, self._in_epoch, self._planned = 0, False, False
        bar = trainer.progress_bar_callback
        self._print = print if bar is None else bar.print
        trainer.save_checkpoint = _timed(trainer.save_checkpoint, self._tracker)  # type: ignore[method-assign]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A run has ended."""
        self._finish(trainer, "finished", together=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A run was cut short."""
        self._finish(trainer, status_of(exception))

    # a checkpoint: Lightning lets only one callback of a kind have a state_dict, and a Trainer may have two monitors

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """So that a resumed training goes on counting."""
        checkpoint.setdefault(_STATES, {})[self._number(trainer)] = self._tracker.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on counting where a checkpoint was written; lost work is told from the run folder of then."""
        self._tracker.load_state_dict(checkpoint.get(_STATES, {}).get(self._number(trainer), {}))

    # its phases

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The trial evaluation before training begins."""
        self._tracker.begin("sanity_check")

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The trial evaluation ends."""
        self._tracker.end("sanity_check")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All is set up."""
        self._tracker.end("setup")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch begins."""
        self._begin_epoch(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A run that was resumed within an epoch begins here: it gets no ``on_train_epoch_start``."""
        if not self._in_epoch:
            self._begin_epoch(trainer, skipped=batch_idx)
        if self._new_epoch:
            self._new_epoch = False
            self._tracker.batch(0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step; its energy is logged as often as the Trainer logs."""
        self._tracker.step()
        self._batches += 1
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's connectors
        if every and self._batches % every == 0:
            snapshot = self._tracker.step_snapshot() if trainer.loggers or self._has_bar(trainer) else None
            if snapshot is not None:
                log(trainer, snapshot.step_metrics(), step=trainer.global_step)
                self._show(trainer, snapshot.metrics())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch has ended, its evaluation included."""
        self._tracker.end("train")
        self._in_epoch = False
        metrics = self._publish(trainer, self._tracker.end_epoch())
        # the step under which Lightning logs the metrics of the epoch
        log(trainer, metrics, step=max(0, trainer.global_step - 1))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation begins, in an epoch or by itself."""
        if not trainer.sanity_checking:
            self._tracker.end("setup")
            self._tracker.begin("validate")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The energy up to an evaluation is known with its metrics, so that a checkpoint can be chosen by both."""
        if not trainer.sanity_checking:
            self._tracker.exchange()
            self._publish(trainer, self._tracker.snapshot())

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """A batch of an evaluation, counted as a step where it is not one within a training."""
        if trainer.state.fn == "validate":
            self._tracker.step()
        else:
            self._tracker.batch()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation ends."""
        if not trainer.sanity_checking:
            self._tracker.end("validate")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test begins."""
        self._tracker.end("setup")
        self._tracker.begin("test")

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """A step of a test."""
        self._tracker.step()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test ends."""
        self._tracker.end("test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction begins."""
        self._tracker.end("setup")
        self._tracker.begin("predict")

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """A step of a prediction."""
        self._tracker.step()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction ends."""
        self._tracker.end("predict")

    # what is evaluated by itself

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        """Some samples are evaluated."""
        if trainer.state.fn == "validate":
            self._tracker.count(_samples(trainer, batch))

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        """Some samples are tested."""
        self._tracker.count(_samples(trainer, batch))

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        """Some samples are predicted."""
        self._tracker.count(_samples(trainer, batch))

    # what the hooks share

    def _begin_epoch(self, trainer: Trainer, skipped: int = 0) -> None:
        if not self._planned and self._tracker.running:
            self._planned = True
            self._tracker.plan(plan_of(trainer, skipped))
        self._tracker.begin("train", epoch=trainer.current_epoch)
        self._in_epoch = self._new_epoch = True

    def _say(self, line: str) -> None:
        """Above the progress bar."""
        self._print(line)

    def _number(self, trainer: Trainer) -> str:
        """Which of a Trainer's monitors this is."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning's connectors
        return str([each for each in callbacks if isinstance(each, FootprintMonitor)].index(self))

    def _publish(self, trainer: Trainer, snapshot: RunSnapshot | None) -> dict[str, float]:
        """Let other callbacks and the progress bar have the values.

        As Lightning's LearningRateMonitor does it: through the module each value would take a third of a millisecond.
        """
        metrics = {} if snapshot is None else snapshot.metrics()
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})
        self._show(trainer, metrics)
        return metrics

    def _show(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """On the progress bar, in the units that read best now."""
        if metrics and self._has_bar(trainer):
            shown: dict[str, Any] = trainer.progress_bar_metrics
            for unit in UNITS:
                shown.pop(unit, None)
            shown.update(bar_texts(metrics))

    def _has_bar(self, trainer: Trainer) -> bool:
        return self._prog_bar and trainer.progress_bar_callback is not None

    def _finish(self, trainer: Trainer, status: Status, *, together: bool = False) -> None:
        trainer.__dict__.pop("save_checkpoint", None)
        close_rich_bar(trainer)
        self._print = print
        snapshot = self._tracker.stop(status, together=together)
        if snapshot is not None and trainer.state.fn in ("validate", "test", "predict"):
            phase = cast(Phase, trainer.state.fn.value)
            log(trainer, snapshot.inference_metrics(phase), step=trainer.global_step)
        if snapshot is not None and trainer.is_global_zero and trainer.loggers:
            from trainwatt.reporting.artifacts import attach  # noqa: PLC0415  # at the end only: importing it takes milliseconds
            from trainwatt_lightning.experiment_trackers import trackers_of  # noqa: PLC0415

            attach(self._tracker.summary, trackers_of(trainer))


def log(trainer: Trainer, metrics: dict[str, float], step: int) -> None:
    """Give values to each of the Trainer's loggers."""
    for logger in trainer.loggers if metrics else ():
        logger.log_metrics(metrics, step=step)


def close_rich_bar(trainer: Trainer) -> None:
    """A bar that is still live would be drawn over the summary; it is closed again by the Trainer, to no effect."""
    bar = trainer.progress_bar_callback
    if any(cls.__name__ == "RichProgressBar" for cls in type(bar).__mro__) and trainer.state.fn is not None:
        bar.teardown(trainer, trainer.lightning_module, trainer.state.fn)  # type: ignore[union-attr]


def _samples(trainer: Trainer, batch: Any) -> int | None:
    """Samples in a batch, by its first tensor; None where that does not tell, or where other processes have theirs."""
    while isinstance(batch, (list, tuple, dict)) and batch:
        batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
    return len(batch) if isinstance(batch, torch.Tensor) and batch.dim() and trainer.world_size == 1 else None


def _timed(save_checkpoint: Callable[..., None], run: Tracker) -> Callable[..., None]:
    """No hook tells when a checkpoint has been written, so the Trainer's own method is timed for the run."""

    @functools.wraps(save_checkpoint)
    def timed(*args: Any, **kwargs: Any) -> None:
        with run.phase("checkpoint"):
            save_checkpoint(*args, **kwargs)

    return timed


def gpu_uuids(trainer: Trainer) -> tuple[str, ...] | None:
    """The GPU that this process computes on; None where it may be any."""
    device = trainer.strategy.root_device
    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # torch 2.4 and later
    return None if uuid is None else (str(uuid),)
