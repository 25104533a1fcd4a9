"""Green early stopping for Keras: a translation of hooks into controller calls."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras

from trainwatt.callbacks.hooks import Hooks
from trainwatt.callbacks.stop_controller import StopController, StopOutcome
from trainwatt.distributed.process_group import ALONE
from trainwatt.stopping.criteria import Decision
from trainwatt_keras import model_calls
from trainwatt_keras.backup import Backup
from trainwatt_keras.callback_list import Place, add_last, all_callbacks, leave, places_of, put_first, shorten_bars
from trainwatt_keras.learning_rate import LearningRates
from trainwatt_keras.model_hooks import devices_of
from trainwatt_keras.process_group import process_group_of
from trainwatt_keras.published import Published

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.options import StoppingOptions

_UNKNOWN = {"stopping/gain_per_kwh": math.nan, "stopping/expected_gain_per_kwh": math.nan}


class GreenEarlyStopping(Hooks, StopOutcome, keras.callbacks.EarlyStopping):  # type: ignore[misc]  # Keras has no types
    """Early stopping when the metric's gain is no longer worth its energy.

    It works alongside a :class:`FootprintMonitor` or standalone, and judges at the end of an epoch, once the callbacks
    that log the metric have logged it, whatever their order. A missing metric and an unknown mode are warnings, as in
    Keras's own ``EarlyStopping``. ``BackupAndRestore`` restores its history.

    Args:
        monitor: name of the metric in the logs.
        mode: ``"min"``, ``"max"``, or ``"auto"``: by the metric's own direction.
        restore_best_weights: end with the weights of the best epoch.
        start_from_epoch: number of the first epoch that may end the training, and be the best one.
        verbose: log why the training is stopped.
        options: thresholds and budgets, location and devices; see
            :class:`trainwatt.tracking.options.StoppingOptions` and
            :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    # No hook of a batch's end is taken.
    async_safe = True

    # Keras's own
    best: float | None

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        *,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        verbose: int = 1,
        **options: Unpack[StoppingOptions],
    ) -> None:
        super().__init__(
            monitor,
            mode=mode,
            patience=options.get("patience", 0),
            baseline=options.get("baseline"),
            restore_best_weights=restore_best_weights,
            start_from_epoch=start_from_epoch,
            verbose=verbose,
        )
        self._controller = StopController(None, verbose=bool(verbose), **options)
        self._undo = ExitStack()
        self._published = Published()
        self._call: model_calls.Call | None = None
        self._first_epoch: int | None = None
        self._judged: int | None = None
        self._judges_late = False
        self._rates = LearningRates(None)
        self._backup = Backup(())
        self._group = ALONE
        model_calls.watch()

    def _idle(self) -> dict[str, Any]:
        """Return the attributes of a copy that differ: a copy has no model, and no training."""
        return {
            **super()._idle(),
            "_model": None,
            "_undo": ExitStack(),
            "_published": Published(),
            "_call": None,
            "_rates": LearningRates(None),
            "_backup": Backup(()),
            "_group": ALONE,
        }

    def set_model(self, model: Any) -> None:
        """Move to the front of the list of callbacks, so that all others see our values.

        A call within the one that is being judged is part of it, and its own callbacks are without this one.
        """
        if self._call is not None:
            leave(self)
            return
        super().set_model(model)
        put_first(self)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start measuring a training."""
        if self._call is not None:
            return
        super().on_train_begin(logs)
        self._undo.close()
        self._first_epoch = self._judged = None
        self._published.clear()
        model = self.model if isinstance(self.model, keras.Model) else None
        self._group = process_group_of(f"stopper {self._name}")
        places = put_first(self, self._undo)
        self._judges_late = add_last(_JudgesLate(self), places, self._undo)
        self._call = model_calls.current(model)
        if self._call is not None:
            self._call.at_end(self._end)
        self._start(model, places)

    @property
    def _name(self) -> str:
        """Name that tells it from other stoppers, the same in each process of a job and in each run of a script."""
        return f"{self.monitor} {self.mode} {self._controller.key}"

    def _start(self, model: Any, places: list[Place]) -> None:
        callbacks = all_callbacks(places)
        self._controller.start(
            devices_of(model),
            self._group,
            callbacks=callbacks,
            evaluations=self._expected(),
            remedy="steps_per_epoch= makes epochs, and so evaluations, shorter",
        )
        shorten_bars(callbacks, self._published, self._undo, shown=False)
        steps, epochs = (self.params or {}).get("steps"), self._call.epochs if self._call is not None else ()
        planned = steps * len(epochs) if steps and epochs else None
        self._rates = LearningRates(getattr(model, "optimizer", None), planned)
        self._backup = Backup(callbacks, self._name)
        self._controller.load_state_dict(self._backup.load())

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the first epoch."""
        self._first_epoch = epoch if self._first_epoch is None else self._first_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the budgets within an epoch."""
        decision = self._controller.check_budget(f"batch {batch}")
        if decision is not None and (decision.stop or decision.sentence):
            self._apply(decision)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Judge at the end of an epoch, its evaluation included, if the metric is in the logs already."""
        logs = {} if logs is None else logs
        if self._judges_late and self.monitor not in logs:
            self._publish(logs, {})
        else:
            self._judge(epoch, logs)

    def judge_late(self, epoch: int, logs: dict[str, Any]) -> None:
        """Judge after the user's other callbacks, one of which may have logged the metric."""
        if self._judged != epoch:
            self._judge(epoch, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """End measuring, and restore the best weights if that is wanted."""
        if self.restore_best_weights and self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        if self._call is None:
            self._end(None)

    def state_dict(self) -> dict[str, Any]:
        """Return the history of evaluations, of numbers and lists only."""
        return self._controller.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, with the next training or with the one that is going on."""
        self._controller.load_state_dict(state)

    def _judge(self, epoch: int, logs: dict[str, Any]) -> None:
        self._judged = epoch
        # every process comes here in every epoch, whatever it has in its logs
        if self._group.world_size > 1:
            self._controller.exchange()
        decision = Decision()
        if logs.get(self.monitor) is not None:
            decision = self._decided(epoch, logs[self.monitor])
        elif self._evaluates(epoch):
            self._controller.missing(self.monitor, logs, lambda: self.get_monitor_value(self._without_ours(logs)))
        metrics = decision.metrics
        if self._group.world_size > 1:
            metrics = self._controller.share(metrics)
            sentence = decision.sentence if self._group.is_rank_zero else ""
            decision = replace(decision, stop=self._controller.agree(decision), sentence=sentence)
        self._publish(logs, metrics)
        self._apply(decision)
        if self._controller.stopped:
            self.stopped_epoch = epoch
        if self._group.is_rank_zero:
            self._backup.save(self._controller.state_dict)

    def _without_ours(self, logs: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in logs.items() if name not in _UNKNOWN}

    def _decided(self, epoch: int, value: Any) -> Decision:
        number = self._controller.number(value, self.monitor)
        if number is None or (self._controller.mode is None and not self._tell_direction()):
            return Decision()
        done, starts = self._done(epoch), epoch >= self.start_from_epoch
        decision = self._controller.evaluate(
            number,
            done=done,
            when=f"epoch {epoch + 1}",
            remaining_lr=self._rates.remaining(done),
            metric=self.monitor,
            may_stop=starts,
        )
        if starts:
            self._note_best(epoch, number)
        return decision

    def _note_best(self, epoch: int, value: float) -> None:
        """Keep the best value, as Keras does; one that is not finite is never the best."""
        better = self.best is None or (value > self.best if self._controller.mode == "max" else value < self.best)
        if math.isfinite(value) and better:
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()

    def _tell_direction(self) -> bool:
        """Take the direction from the metric, now that the metrics are built; return False if it cannot be told."""
        try:
            self._set_monitor_op()
        except ValueError:
            expected = f'pass mode="min" or mode="max": whether more of {self.monitor!r} is better cannot be told'
            self._controller.warn("mode", f"green early stopping judges nothing; {expected}")
            return False
        self._controller.mode = "max" if self.monitor_op is keras.ops.greater else "min"
        return True

    def _publish(self, logs: dict[str, Any], metrics: Any) -> None:
        places = places_of(self)
        given = [logs, *(place.logs for place in places)]
        self._published.publish({**_UNKNOWN, **metrics}, given, all_callbacks(places))

    def _apply(self, decision: Decision) -> None:
        if self._controller.conclude(decision):
            self.model.stop_training = True

    def _end(self, error: BaseException | None) -> None:
        """End measuring, however the training has ended."""
        self._call = None
        self._controller.stop()
        self._undo.close()

    def _done(self, epoch: int) -> float | None:
        """Return the progress of this call of ``fit``, 0 to 1; None if its length is unknown."""
        first, epochs = self._first_epoch or 0, (self.params or {}).get("epochs")
        return (epoch + 1 - first) / (epochs - first) if epochs and epochs > first else None

    def _evaluates(self, epoch: int) -> bool:
        """Return False if Keras evaluates only in other epochs, so that its metrics cannot be in the logs."""
        return not self.monitor.startswith("val_") or self._call is None or self._call.evaluates(epoch)

    def _expected(self) -> int | None:
        if self._call is None:
            return None
        epochs = self._call.epochs
        return sum(map(self._call.evaluates, epochs)) if self.monitor.startswith("val_") else len(epochs)


class _JudgesLate(Hooks, keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """The end of the list, where the metric is in the logs if any callback logs it."""

    async_safe = True

    def __init__(self, stopper: GreenEarlyStopping) -> None:
        super().__init__()
        self._stopper = stopper

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Let the stopper judge, if it could not before."""
        self._stopper.judge_late(epoch, {} if logs is None else logs)
