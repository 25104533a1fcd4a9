"""Green early stopping for Keras: hooks in, a stop flag out."""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import keras

from trainwatt.distributed.process_group import ALONE
from trainwatt.stopping.lr_schedule import rates_of
from trainwatt.tracking.green_stopper import Decision, GreenStopper, StoppingCriteria
from trainwatt_keras import model_calls
from trainwatt_keras.callback_list import put_first, shorten_bar
from trainwatt_keras.model_hooks import gpu_uuids
from trainwatt_keras.process_group import agreed, process_group_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.settings import Measured

_log = logging.getLogger("trainwatt")

_UNKNOWN = {"stopping/gain_per_kwh": math.nan, "stopping/expected_gain_per_kwh": math.nan}


class GreenEarlyStopping(keras.callbacks.EarlyStopping):  # type: ignore[misc]  # Keras has no types
    """Stops a training when what its metric gains no longer pays for the energy.

    Beside a :class:`FootprintMonitor` or alone. A metric that is missing and a mode that is unknown are what they are
    to Keras's own ``EarlyStopping``: warnings. ``BackupAndRestore`` keeps no callback's state, so a training that it
    resumes is judged by what comes after.

    Args:
        monitor: the metric, as it stands in the logs.
        mode: ``"min"``, ``"max"``, or ``"auto"``: by the metric's own direction.
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
        restore_best_weights: whether the model ends with the weights of the best epoch.
        verbose: whether to say why the training is stopped.
        options: ``zone``, ``cloud``, ``devices`` and so on, as for :class:`FootprintMonitor`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    async_safe = True  # no hook of a batch's end is taken

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
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
        restore_best_weights: bool = False,
        verbose: int = 1,
        **options: Unpack[Measured],
    ) -> None:
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
        super().__init__(monitor, mode=mode, restore_best_weights=restore_best_weights, verbose=verbose)
        self.stopping_reason: str | None = None
        self._stopper = GreenStopper(None, terms, **options)
        self._undo = ExitStack()
        self._published: dict[str, float] = {}
        self._first_epoch: int | None = None
        self._seen = False
        self._processes = ALONE
        model_calls.watch()

    def set_model(self, model: Any) -> None:
        """The callbacks are being listed: the first one's values reach all others."""
        super().set_model(model)
        put_first(self)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """A training begins."""
        super().on_train_begin(logs)
        self._undo.close()
        self.stopping_reason, self._first_epoch, self._seen = None, None, False
        self._published.clear()
        model = self.model if isinstance(self.model, keras.Model) else None
        self._processes = process_group_of()
        self._stopper.start(gpu_uuids(model))
        self._undo.callback(self._stopper.stop)
        call = model_calls.current(model)
        if call is not None:
            call.at_end(lambda _: self._undo.close())
        callbacks = put_first(self)
        if callbacks is not None:
            shorten_bar(callbacks, self._published, self._undo, shown=False)
        self._say(
            self._stopper.too_few_evaluations_warning(
                self._expected(), "steps_per_epoch= makes epochs, and so evaluations, shorter"
            )
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """An epoch begins."""
        self._first_epoch = epoch if self._first_epoch is None else self._first_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """A budget may be spent within an epoch."""
        if self._processes.count == 1:  # several agree at evaluations only
            self._apply(self._stopper.check_budget(f"batch {batch}"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """An epoch has ended, its evaluation included."""
        logs = {} if logs is None else logs
        if self._seen and self.monitor not in logs:  # validation_freq leaves this epoch out
            return
        value = self.get_monitor_value(logs)
        if value is None:
            return
        self._seen = True
        self._stopper.mode = self._stopper.mode or self._direction()
        done, left = self._done(epoch), self._remaining_lr(epoch)
        decision = self._stopper.evaluate(
            float(value), done=done, when=f"epoch {epoch + 1}", remaining_lr=left, metric=self.monitor
        )
        if self._processes.count > 1:
            sentence = decision.sentence if self._processes.first else ""
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
        """A training has ended; the best weights are put back if that was asked for."""
        if self.restore_best_weights and self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        self._undo.close()

    def state_dict(self) -> dict[str, Any]:
        """The history that it judges by, of numbers and lists only."""
        return self._stopper.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, once a training has begun."""
        self._stopper.load_state_dict(state)

    def _direction(self) -> Literal["min", "max"]:
        self._set_monitor_op()  # Keras's own way to tell, once the metrics are built
        return "max" if self.monitor_op is keras.ops.greater else "min"

    def _apply(self, decision: Decision) -> None:
        if decision.stop:
            self.stopping_reason = decision.sentence
            self.model.stop_training = True
        self._say(decision.sentence)

    def _say(self, sentence: str) -> None:
        if sentence and self.verbose:
            _log.warning("trainwatt: %s", sentence)

    def _done(self, epoch: int) -> float | None:
        """The part of this call of ``fit`` that is done."""
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
