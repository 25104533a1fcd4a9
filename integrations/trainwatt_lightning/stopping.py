"""Green early stopping for Lightning: hooks in, a stop flag out."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from trainwatt.stopping.lr_schedule import torch_rates
from trainwatt.tracking.green_stopper import Decision, GreenStopper, StoppingCriteria
from trainwatt_lightning.compat import Callback, LightningModule, MisconfigurationException, Trainer
from trainwatt_lightning.monitor import gpu_uuids, log
from trainwatt_lightning.process_group import process_group_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.settings import Measured

_log = logging.getLogger("trainwatt")


class GreenEarlyStopping(Callback):
    """Stops a training when what its metric gains no longer pays for the energy.

    Beside a :class:`FootprintMonitor` or alone; evaluations are looked at when Lightning's own ``EarlyStopping`` looks
    at them, and ``min_epochs`` and ``min_steps`` of the Trainer hold. For the best weights use ``ModelCheckpoint``.

    Args:
        monitor: the metric, as the module logs it.
        mode: ``"min"`` or ``"max"``.
        min_gain_per_kwh: the price in metric units per kWh; ``"auto"``: see ``min_gain_per_percent``; None: no price,
            the training is only observed.
        min_gain_per_percent: the price in metric units per 1 % of the energy that the whole training is going to take.
            With neither given, 0.1 points of an accuracy, or 0.1 % of a loss's first value.
        patience: so many further evaluations in a row must find the same before the training is stopped.
        warmup: evaluations in the beginning after which it is never stopped.
        ideal: the best that the metric can be; None: 0 for ``"min"``, 1 or 100 for ``"max"``.
        max_kwh: energy that the training may take.
        max_co2e_kg: emissions that it may cause.
        max_cost: what its electricity may cost.
        over_budget: ``"stop"`` or only ``"warn"`` when one of these three is reached.
        foresee: whether one counts as reached as soon as the whole training is bound to pass it.
        strict: whether a metric that is not there is an error.
        verbose: whether to say why the training is stopped.
        check_on_train_epoch_end: look at the metric at the end of training epochs rather than of evaluations; None: as
            Lightning's ``EarlyStopping`` does.
        options: ``zone``, ``cloud``, ``devices`` and so on, as for :class:`FootprintMonitor`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
        MisconfigurationException: ``mode`` is neither.
    """

    def __init__(
        self,
        monitor: str,
        mode: str = "min",
        *,
        min_gain_per_kwh: float | Literal["auto"] | None = "auto",
        min_gain_per_percent: float | None = None,
        patience: int = 0,
        warmup: int = 0,
        ideal: float | None = None,
        max_kwh: float | None = None,
        max_co2e_kg: float | None = None,
        max_cost: float | None = None,
        over_budget: str = "stop",
        foresee: bool = False,
        strict: bool = True,
        verbose: bool = True,
        check_on_train_epoch_end: bool | None = None,
        **options: Unpack[Measured],
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"`mode` can be min, max, got {mode}")
        terms = StoppingCriteria(
            min_gain_per_kwh,
            min_gain_per_percent,
            patience,
            warmup,
            ideal,
            max_kwh,
            max_co2e_kg,
            max_cost,
            over_budget,
            foresee,
        )
        self.monitor, self.mode, self.strict, self.verbose = monitor, mode, strict, verbose
        self.stopped_epoch = 0
        self.stopping_reason_message: str | None = None
        self._at_epoch_end = check_on_train_epoch_end
        self._told_missing = False
        self._stopper = GreenStopper("max" if mode == "max" else "min", terms, **options)

    @property
    def state_key(self) -> str:
        """One state for each metric in a checkpoint."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return self._stopper.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A training goes on: what was spent and evaluated before counts."""
        self._stopper.load_state_dict(state_dict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A training begins."""
        if stage != "fit":
            return
        if self._at_epoch_end is None:
            self._at_epoch_end = trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1
        self._stopper.start(gpu_uuids(trainer), process_group_of(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The length of the training is known."""
        few = self._stopper.too_few_evaluations_warning(
            _evaluations(trainer), "val_check_interval=0.25 gives four in each epoch"
        )
        if few and trainer.is_global_zero:
            _log.warning("trainwatt: %s", few)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """A budget may be spent within an epoch."""
        if trainer.world_size == 1:  # several agree at evaluations only
            self._apply(trainer, self._stopper.check_budget(f"step {trainer.global_step}"))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch has ended."""
        if self._at_epoch_end:
            self._judge(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation has ended."""
        if not self._at_epoch_end:
            self._judge(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A training has ended."""
        if stage == "fit":
            self._stopper.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A training was cut short."""
        self._stopper.stop()

    def _judge(self, trainer: Trainer) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        metrics = trainer.callback_metrics
        if self.monitor not in metrics:
            self._missing(metrics)
            return
        decision = Decision()
        self._stopper.exchange()
        if trainer.is_global_zero:
            value = float(metrics[self.monitor])
            when = f"epoch {trainer.current_epoch}"
            decision = self._stopper.evaluate(
                value, done=_done(trainer), when=when, remaining_lr=_remaining_lr(trainer), metric=self.monitor
            )
            metrics.update({name: torch.tensor(gain) for name, gain in decision.metrics.items()})
            log(trainer, dict(decision.metrics), step=max(0, trainer.global_step - 1))
        self._apply(trainer, decision)

    def _apply(self, trainer: Trainer, decision: Decision) -> None:
        stop = decision.stop
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        trainer.should_stop = trainer.should_stop or stop
        if stop:
            self.stopped_epoch = trainer.current_epoch
            self.stopping_reason_message = decision.sentence or None
        if decision.sentence and self.verbose:
            _log.warning("trainwatt: %s", decision.sentence)

    def _missing(self, metrics: Mapping[str, Any]) -> None:
        message = (
            f"Green early stopping conditioned on metric `{self.monitor}` which is not available. Pass in or modify "
            f"your `GreenEarlyStopping` callback to use any of the following: `{'`, `'.join(metrics)}`"
        )
        if self.strict:
            raise RuntimeError(message)
        if not self._told_missing:
            self._told_missing = True
            _log.warning("trainwatt: %s", message)


def _done(trainer: Trainer) -> float | None:
    """The part of the plan that is done."""
    parts = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        batches, made = trainer.num_training_batches, trainer.fit_loop.epoch_loop.batch_progress.current.ready
        within = made / batches if math.isfinite(batches) and batches > 0 else 0.0
        parts.append((trainer.current_epoch + min(1.0, within)) / trainer.max_epochs)
    if trainer.max_steps > 0:
        parts.append(trainer.global_step / trainer.max_steps)
    return min(1.0, max(parts)) if parts and max(parts) > 0 else None


def _evaluations(trainer: Trainer) -> int:
    """How many evaluations there are going to be; many where nobody knows."""
    epochs, batches = trainer.max_epochs or 0, trainer.num_training_batches
    if trainer.max_steps > 0 and math.isfinite(batches):
        by_steps = math.ceil(trainer.max_steps / max(1, batches))
        epochs = min(epochs, by_steps) if epochs > 0 else by_steps
    if epochs <= 0 or not math.isfinite(batches):
        return 1_000_000
    within = 1.0 if trainer.val_check_batch in (None, math.inf) else max(1.0, batches / trainer.val_check_batch)
    return int(epochs * within / (trainer.check_val_every_n_epoch or 1))


def _remaining_lr(trainer: Trainer) -> list[float] | None:
    """What the first scheduler is still going to do."""
    done = _done(trainer)
    if not trainer.lr_scheduler_configs or not done:
        return None
    config = trainer.lr_scheduler_configs[0]
    made = trainer.global_step if config.interval == "step" else trainer.current_epoch + 1
    return torch_rates(config.scheduler, made * (1 - done) / done / config.frequency)
