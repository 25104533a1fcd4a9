"""Green early stopping for Lightning: a translation of hooks into controller calls."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from trainwatt.callbacks.stop_controller import StopController, StopOutcome
from trainwatt.stopping.criteria import Decision
from trainwatt_lightning.compat import Callback, LightningModule, MisconfigurationException, Trainer
from trainwatt_lightning.output import log
from trainwatt_lightning.process_group import process_group_of
from trainwatt_torch.lr_schedule import torch_rates

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.options import StoppingOptions

_log = logging.getLogger("trainwatt")


class GreenEarlyStopping(StopOutcome, Callback):
    """Early stopping when the metric's gain is no longer worth its energy.

    It works alongside a :class:`FootprintMonitor` or standalone. Evaluations are judged when Lightning's own
    ``EarlyStopping`` judges them, and ``min_epochs`` and ``min_steps`` of the Trainer hold. For the best weights use
    ``ModelCheckpoint``.

    Args:
        monitor: name of the metric, as the module logs it.
        mode: ``"min"`` or ``"max"``.
        strict: raise an error if the metric is missing.
        verbose: log why the training is stopped.
        check_on_train_epoch_end: judge at the end of training epochs rather than of evaluations; None: as Lightning's
            ``EarlyStopping`` does.
        options: thresholds and budgets, location and devices; see
            :class:`trainwatt.tracking.options.StoppingOptions` and
            :class:`trainwatt.tracking.options.MeasurementOptions`.

    Attributes:
        stopped_epoch: epoch at which the training was stopped; 0 if it was not.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
        MisconfigurationException: ``mode`` is neither.
    """

    def __init__(
        self,
        monitor: str,
        mode: str = "min",
        *,
        strict: bool = True,
        verbose: bool = True,
        check_on_train_epoch_end: bool | None = None,
        **options: Unpack[StoppingOptions],
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"`mode` can be min, max, got {mode}")
        self.monitor, self.mode, self.strict, self.verbose = monitor, mode, strict, verbose
        self.stopped_epoch = 0
        self._at_epoch_end = check_on_train_epoch_end
        self._warned_missing = False
        self._controller = StopController("max" if mode == "max" else "min", verbose=verbose, **options)

    @property
    def state_key(self) -> str:
        """Key in a checkpoint, one for each metric."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    def state_dict(self) -> dict[str, Any]:
        """Return the history of evaluations."""
        return self._controller.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a training: what it spent and evaluated before counts."""
        self._controller.load_state_dict(state_dict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start measuring a training."""
        if stage != "fit":
            return
        if self._at_epoch_end is None:
            self._at_epoch_end = trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1
        devices, callbacks = [trainer.strategy.root_device], trainer.callbacks  # type: ignore[attr-defined]
        self._controller.start(devices, process_group_of(trainer), callbacks=callbacks)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if the training has too few evaluations, now that its length is known."""
        self._controller.warn_if_few(_evaluations(trainer), "val_check_interval=0.25 gives four in each epoch")

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Check the budgets within an epoch."""
        decision = self._controller.check_budget(f"step {trainer.global_step}")
        if decision is not None:
            self._apply(trainer, decision)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge at the end of an epoch."""
        if self._at_epoch_end:
            self._judge(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge at the end of an evaluation."""
        if not self._at_epoch_end:
            self._judge(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End measuring."""
        if stage == "fit":
            self._controller.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End measuring a training that was cut short."""
        self._controller.stop()

    def _judge(self, trainer: Trainer) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        metrics = trainer.callback_metrics
        if self.monitor not in metrics:
            self._missing(metrics)
            return
        decision = Decision()
        self._controller.exchange()
        if trainer.is_global_zero:
            decision = self._controller.evaluate(
                float(metrics[self.monitor]),
                done=_done(trainer),
                when=f"epoch {trainer.current_epoch}",
                remaining_lr=_remaining_lr(trainer),
                metric=self.monitor,
            )
            metrics.update({name: torch.tensor(gain) for name, gain in decision.metrics.items()})
            log(trainer, dict(decision.metrics), step=max(0, trainer.global_step - 1))
        self._apply(trainer, decision)

    def _apply(self, trainer: Trainer, decision: Decision) -> None:
        stop = decision.stop
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if self._controller.conclude(decision, stop=stop):
            trainer.should_stop = True
            self.stopped_epoch = trainer.current_epoch

    def _missing(self, metrics: Mapping[str, Any]) -> None:
        message = (
            f"Green early stopping conditioned on metric `{self.monitor}` which is not available. Pass in or modify "
            f"your `GreenEarlyStopping` callback to use any of the following: `{'`, `'.join(metrics)}`"
        )
        if self.strict:
            raise RuntimeError(message)
        if not self._warned_missing:
            self._warned_missing = True
            _log.warning("trainwatt: %s", message)


def _done(trainer: Trainer) -> float | None:
    """Return the progress of the training, 0 to 1; None if its length is unknown."""
    parts = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        batches, made = trainer.num_training_batches, trainer.fit_loop.epoch_loop.batch_progress.current.ready
        within = made / batches if math.isfinite(batches) and batches > 0 else 0.0
        parts.append((trainer.current_epoch + min(1.0, within)) / trainer.max_epochs)
    if trainer.max_steps > 0:
        parts.append(trainer.global_step / trainer.max_steps)
    return min(1.0, max(parts)) if parts and max(parts) > 0 else None


def _evaluations(trainer: Trainer) -> int:
    """Return the expected number of evaluations; a large one if it is unknown."""
    epochs, batches = trainer.max_epochs or 0, trainer.num_training_batches
    if trainer.max_steps > 0 and math.isfinite(batches):
        by_steps = math.ceil(trainer.max_steps / max(1, batches))
        epochs = min(epochs, by_steps) if epochs > 0 else by_steps
    if epochs <= 0 or not math.isfinite(batches):
        return 1_000_000
    within = 1.0 if trainer.val_check_batch in (None, math.inf) else max(1.0, batches / trainer.val_check_batch)
    return int(epochs * within / (trainer.check_val_every_n_epoch or 1))


def _remaining_lr(trainer: Trainer) -> list[float] | None:
    """Return the learning rates that the first scheduler is still going to set; None if unknown."""
    done = _done(trainer)
    if not trainer.lr_scheduler_configs or not done:
        return None
    config = trainer.lr_scheduler_configs[0]
    made = trainer.global_step if config.interval == "step" else trainer.current_epoch + 1
    return torch_rates(config.scheduler, made * (1 - done) / done / config.frequency)
