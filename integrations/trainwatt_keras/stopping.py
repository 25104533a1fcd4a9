"""Green early stopping for Keras: a translation of hooks into controller calls."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import keras

from trainwatt.callbacks.stop_controller import StopController, StopOutcome
from trainwatt.distributed.process_group import ALONE
from trainwatt.stopping.lr_schedule import rates_of
from trainwatt_keras import model_calls
from trainwatt_keras.callback_list import put_first, shorten_bar
from trainwatt_keras.model_hooks import devices_of
from trainwatt_keras.process_group import agreed, process_group_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.stopping.criteria import Decision
    from trainwatt.tracking.options import StoppingOptions

_UNKNOWN = {"stopping/gain_per_kwh": math.nan, "stopping/expected_gain_per_kwh": math.nan}


class GreenEarlyStopping(StopOutcome, keras.callbacks.EarlyStopping):  # type: ignore[misc]  # Keras has no types
    """Early stopping when the metric's gain is no longer worth its energy.

    It works alongside a :class:`FootprintMonitor` or standalone. A missing metric and an unknown mode are warnings, as
    in Keras's own ``EarlyStopping``. ``BackupAndRestore`` keeps no callback's state, so a training that it resumes is
    judged by what comes after.

    Args:
        monitor: name of the metric in the logs.
        mode: ``"min"``, ``"max"``, or ``"auto"``: by the metric's own direction.
        restore_best_weights: end with the weights of the best epoch.
        verbose: log why the training is stopped.
        options: thresholds and budgets, location and devices; see
            :class:`trainwatt.tracking.options.StoppingOptions` and
            :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    # No hook of a batch's end is taken.
    async_safe = True

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        *,
        restore_best_weights: bool = False,
        verbose: int = 1,
        **options: Unpack[StoppingOptions],
    ) -> None:
        super().__init__(monitor, mode=mode, restore_best_weights=restore_best_weights, verbose=verbose)
        self._controller = StopController(None, verbose=bool(verbose), **options)
        self._undo = ExitStack()
        self._published: dict[str, float] = {}
        self._first_epoch: int | None = None
        self._seen = False
        self._group = ALONE
        model_calls.watch()

    def set_model(self, model: Any) -> None:
        """Move to the front of the list of callbacks, so that all others see our values."""
        super().set_model(model)
        put_first(self)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start measuring a training."""
        super().on_train_begin(logs)
        self._undo.close()
        self._first_epoch, self._seen = None, False
        self._published.clear()
        model = self.model if isinstance(self.model, keras.Model) else None
        self._group = process_group_of()
        remedy = "steps_per_epoch= makes epochs, and so evaluations, shorter"
        callbacks = put_first(self)
        self._controller.start(
            devices_of(model),
            self._group,
            callbacks=callbacks.callbacks if callbacks else (),
            evaluations=self._expected(),
            remedy=remedy,
        )
        self._undo.callback(self._controller.stop)
        call = model_calls.current(model)
        if call is not None:
            call.at_end(lambda _: self._undo.close())
        if callbacks is not None:
            shorten_bar(callbacks, self._published, self._undo, shown=False)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the first epoch."""
        self._first_epoch = epoch if self._first_epoch is None else self._first_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the budgets within an epoch."""
        decision = self._controller.check_budget(f"batch {batch}")
        if decision is not None:
            self._apply(decision)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Judge at the end of an epoch, its evaluation included."""
        logs = {} if logs is None else logs
        if self._seen and self.monitor not in logs:  # validation_freq leaves this epoch out
            return
        value = self.get_monitor_value(logs)
        if value is None:
            return
        self._seen = True
        self._controller.mode = self._controller.mode or self._direction()
        done, left = self._done(epoch), self._remaining_lr(epoch)
        decision = self._controller.evaluate(
            float(value), done=done, when=f"epoch {epoch + 1}", remaining_lr=left, metric=self.monitor
        )
        if self._group.world_size > 1:
            sentence = decision.sentence if self._group.is_rank_zero else ""
            decision = replace(decision, stop=agreed(decision.stop), sentence=sentence)
        if decision.best:
            self.best, self.best_epoch = float(value), epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
        self._published.update({**_UNKNOWN, **decision.metrics})
        logs.update(self._published)
        if decision.stop:
            self.stopped_epoch = epoch
        self._apply(decision)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """End measuring, and restore the best weights if that is wanted."""
        if self.restore_best_weights and self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        self._undo.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the history of evaluations, of numbers and lists only."""
        return self._controller.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, once a training has begun."""
        self._controller.load_state_dict(state)

    def _direction(self) -> Literal["min", "max"]:
        self._set_monitor_op()  # Keras's own way to tell, once the metrics are built
        return "max" if self.monitor_op is keras.ops.greater else "min"

    def _apply(self, decision: Decision) -> None:
        if self._controller.conclude(decision):
            self.model.stop_training = True

    def _done(self, epoch: int) -> float | None:
        """Return the progress of this call of ``fit``, 0 to 1; None if its length is unknown."""
        first, epochs = self._first_epoch or 0, (self.params or {}).get("epochs")
        return (epoch + 1 - first) / (epochs - first) if epochs and epochs > first else None

    def _expected(self) -> int:
        call = model_calls.current(self.model)
        given = call.arguments if call else {}
        often = given.get("validation_freq", 1)
        epochs = given.get("epochs", 1) - given.get("initial_epoch", 0)
        return int(epochs // often) if isinstance(often, int) and self.monitor.startswith("val_") else int(epochs)

    def _remaining_lr(self, epoch: int) -> list[float] | None:
        schedule = getattr(getattr(self.model, "optimizer", None), "_learning_rate", None)
        done = self._done(epoch)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule) or not done:
            return None
        made = int(self.model.optimizer.iterations)
        return rates_of(schedule, made, made * (1 - done) / done)
