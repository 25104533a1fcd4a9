"""Green early stopping for Lightning: a translation of hooks into controller calls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from trainwatt.callbacks.stop_controller import StopController, StopOutcome
from trainwatt.containment import Failures
from trainwatt.errors import ArgumentError
from trainwatt.stopping.criteria import Decision
from trainwatt_lightning.compat import EarlyStopping, LightningModule, Trainer, bind, misconfiguration
from trainwatt_lightning.output import callback_metrics, log, metric_now, step_of, step_of_epoch
from trainwatt_lightning.process_group import process_group_of
from trainwatt_lightning.state_keys import Numbered, all_callbacks
from trainwatt_torch.lr_schedule import torch_rates

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.distributed.process_group import ProcessGroup
    from trainwatt.tracking.options import StoppingOptions

# Checks in a row that may miss a metric that has never been there: it may be logged every so many epochs only.
_MOST_MISSED = 10


class MissingMetricError(RuntimeError):
    """Error of a metric that is never logged, of the kind that Lightning's own EarlyStopping raises."""


class GreenEarlyStopping(StopOutcome, Numbered, EarlyStopping):  # type: ignore[misc,override]  # own reasons
    """Early stopping when the metric's gain is no longer worth its energy.

    It works alongside a :class:`FootprintMonitor` or standalone. It derives from Lightning's ``EarlyStopping``, so it
    judges when that does: after the module's own hook, and before a ``ModelCheckpoint``. ``min_epochs`` and
    ``min_steps`` of the Trainer hold: until then nothing is stopped, and the next evaluation decides again. A metric
    that is logged in some epochs only is judged in those. For the best weights use ``ModelCheckpoint``.

    Args:
        monitor: name of the metric, as the module logs it.
        mode: ``"min"`` or ``"max"``.
        strict: raise an error if the metric is never there: after half of the evaluations, two at least and ten at
            most, because it may be logged in some epochs only.
        verbose: log why the training is stopped.
        check_on_train_epoch_end: judge at the end of training epochs rather than of evaluations; None: as Lightning's
            ``EarlyStopping`` does.
        options: thresholds and budgets, location and devices; see
            :class:`trainwatt.tracking.options.StoppingOptions` and
            :class:`trainwatt.tracking.options.MeasurementOptions`.

    Attributes:
        stopped_epoch: epoch at which the training was stopped; 0 if it was not.
        best_score: best value of the metric so far.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
        MisconfigurationException: ``mode`` is neither.
    """

    passes = (ArgumentError, MissingMetricError)

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
        bind()
        if mode not in ("min", "max"):
            raise misconfiguration(f"`mode` can be min, max, got {mode}")
        self._controller = StopController("max" if mode == "max" else "min", verbose=verbose, **options)
        # Lightning's attributes. Its constructor would call that of the next base, which may be of its other package.
        self.monitor, self.mode, self.strict, self.verbose = monitor, mode, strict, verbose
        self.min_delta, self.wait_count, self.stopped_epoch = 0.0, 0, 0
        self.patience, self.check_finite = options.get("patience", 0), bool(options.get("check_finite"))
        self.stopping_threshold = options.get("stopping_threshold")
        self.divergence_threshold = options.get("divergence_threshold")
        self.log_rank_zero_only = True
        self.best_score = torch.tensor(-math.inf if mode == "max" else math.inf)
        self._check_on_train_epoch_end = self._given_check = check_on_train_epoch_end
        self._trainer: Trainer | None = None  # while it is being judged
        self._group: ProcessGroup | None = None
        self._judged: Any = None  # the metric's tensor at the last check
        self._failures = Failures()

    def _idle(self) -> dict[str, Any]:
        none = {"_trainer": None, "_group": None, "_judged": None, "_failures": Failures()}
        return {**super()._idle(), **none}

    @property
    def kind(self) -> str:
        """Key of the state of the first stopper of this metric."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    def state_dict(self) -> dict[str, Any]:
        """Return the history of evaluations."""
        return self._controller.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a training: what it spent and evaluated before counts."""
        self._controller.load_state_dict(state_dict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start measuring a training; one in a call within this training is not judged."""
        outer = self._trainer
        if stage != "fit" or (outer is not None and outer is not trainer and outer.state.status == "running"):
            return
        self.enroll(trainer)
        self._trainer, self._judged, self._failures = trainer, None, Failures()
        self.stopped_epoch = 0
        self._check_on_train_epoch_end = self._given_check
        if self._given_check is None:
            # a Trainer that evaluates by the clock has no such interval
            every = getattr(trainer, "val_check_interval", None)
            self._check_on_train_epoch_end = every == 1.0 and trainer.check_val_every_n_epoch == 1
        self._group = process_group_of(trainer, f"stopper {self.state_key}")
        self._controller.start([trainer.strategy.root_device], self._group, callbacks=all_callbacks(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if the training has too few evaluations, now that its length is known."""
        if trainer is self._trainer:
            self._controller.warn_if_few(_evaluations(trainer), "val_check_interval=0.25 gives four in each epoch")

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Check the budgets within an epoch."""
        decision = self._controller.check_budget(f"step {trainer.global_step}") if trainer is self._trainer else None
        if decision is not None and (decision.stop or decision.sentence):
            self._conclude(trainer, decision, stop=decision.stop, in_force=_may_stop(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge at the end of an epoch."""
        if self._check_on_train_epoch_end:
            self._judge(trainer, at_epoch_end=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge at the end of an evaluation."""
        if not self._check_on_train_epoch_end:
            self._judge(trainer, at_epoch_end=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End measuring."""
        if trainer is self._trainer:
            self._trainer = self._judged = None
            self._controller.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End measuring a training that was cut short."""
        self.teardown(trainer, pl_module, "fit")

    def _judge(self, trainer: Trainer, *, at_epoch_end: bool) -> None:
        is_judged = trainer is self._trainer and trainer.state.fn == "fit" and not trainer.sanity_checking
        if not is_judged or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Lightning's connectors
            return
        self._controller.exchange()
        in_force, decision, missed = _may_stop(trainer, at_epoch_end=at_epoch_end), Decision(), 0
        if trainer.is_global_zero:
            # The others wait for what is decided, whatever fails.
            decision, missed = self._failures.result(
                "green early stopping",
                lambda: self._decision(trainer, at_epoch_end=at_epoch_end),
                (decision, missed),
                "this evaluation stops nothing",
            )
        stop = self._agreed(trainer, decision)
        told = self._controller.share({"missed": missed, **decision.metrics})
        missed = int(told.pop("missed", 0))
        callback_metrics(trainer).update({name: torch.tensor(gain) for name, gain in told.items()})
        if trainer.is_global_zero:
            step = step_of_epoch(trainer) if at_epoch_end else step_of(trainer)
            log(trainer, dict(decision.metrics), step, self._failures)
        if self.strict and missed >= _tolerated(trainer):
            raise MissingMetricError(_missing_text(self.monitor, callback_metrics(trainer)))
        self._conclude(trainer, decision, stop=stop, in_force=in_force)

    def _decision(self, trainer: Trainer, *, at_epoch_end: bool) -> tuple[Decision, int]:
        """Return the decision of rank 0, and how many checks in a row have missed a metric that was never there."""
        value = metric_now(trainer, self.monitor, at_epoch_end=at_epoch_end)
        when = f"epoch {trainer.current_epoch}"
        if value is None:
            metrics = callback_metrics(trainer)
            report = lambda: self._controller.warn("missing", _missing_text(self.monitor, metrics))  # noqa: E731
            return Decision(), self._controller.missing(self.monitor, metrics, report)
        if value is self._judged and isinstance(value, torch.Tensor):
            # Lightning keeps the tensor until the metric is logged again.
            return self._controller.check_budget(when) or Decision(), 0
        self._judged = value
        decision = self._controller.evaluate(
            value, done=_done(trainer), when=when, remaining_lr=self._remaining_lr(trainer), metric=self.monitor
        )
        if decision.best:
            self.best_score = torch.as_tensor(value).detach().clone()
        return decision, 0

    def _agreed(self, trainer: Trainer, decision: Decision) -> bool:
        """Return what rank 0 decides, on every rank."""
        if self._group is None or self._group.world_size == 1:
            return decision.stop
        if self._group.store is None and self._group.gather is None:
            return trainer.strategy.reduce_boolean_decision(decision.stop, all=False)
        return self._controller.agree(decision)

    def _conclude(self, trainer: Trainer, decision: Decision, *, stop: bool, in_force: bool) -> None:
        if self._controller.conclude(decision, stop=stop, in_force=in_force) and not trainer.should_stop:
            trainer.should_stop = True
            self.stopped_epoch = trainer.current_epoch

    def _remaining_lr(self, trainer: Trainer) -> list[float] | None:
        return self._failures.result("the schedule of the learning rate", lambda: _remaining_lr(trainer), None)


def _may_stop(trainer: Any, *, at_epoch_end: bool = False) -> bool:
    """Return True if the Trainer would stop now; an epoch counts for ``min_epochs`` once its last batch is done."""
    loop = trainer.fit_loop
    epochs = loop.epoch_progress.current.processed
    if not at_epoch_end and loop.epoch_loop.batch_progress.is_last_batch:
        epochs += 1
    return bool(epochs >= (loop.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0))


def _tolerated(trainer: Trainer) -> int:
    """Return how many checks in a row may miss a metric that has never been there."""
    return min(_MOST_MISSED, max(2, _evaluations(trainer) // 2))


def _missing_text(monitor: str, metrics: Mapping[str, Any]) -> str:
    return (
        f"Green early stopping conditioned on metric `{monitor}` which is not available. Pass in or modify "
        f"your `GreenEarlyStopping` callback to use any of the following: `{'`, `'.join(metrics)}`"
    )


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
    by_time = getattr(trainer, "_val_check_time_interval", None) is not None
    if epochs <= 0 or not math.isfinite(batches) or by_time:
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
