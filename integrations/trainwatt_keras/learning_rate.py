"""The learning rates that a Keras schedule is going to set, without a look at the device while it trains."""

from __future__ import annotations

from typing import Any

import keras

from trainwatt.stopping.lr_schedule import rates_of


class LearningRates:
    """Learning rates of a whole training, which are taken from the schedule once, on the CPU.

    Args:
        optimizer: the model's; None if there is none.
        steps: steps of the whole training; None if only its first epoch will tell.
    """

    def __init__(self, optimizer: Any, steps: float | None = None) -> None:
        schedule = getattr(optimizer, "_learning_rate", None)
        self._rates: list[float] | None = None
        self._pending: tuple[Any, Any, int] | None = None
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            first = int(optimizer.iterations)
            if steps is None:
                self._pending = (schedule, optimizer, first)
            else:
                # of which several may be one step of the optimizer
                several = getattr(optimizer, "gradient_accumulation_steps", None) or 1
                self._rates = _rates(schedule, first, steps / several)

    def remaining(self, done: float | None) -> list[float] | None:
        """Return the rates from now to the end, evenly spaced; None if they are unknown.

        Args:
            done: progress of the training, 0 to 1.
        """
        if not done:
            return None
        if self._pending is not None:
            (schedule, optimizer, first), self._pending = self._pending, None
            self._rates = _rates(schedule, first, (int(optimizer.iterations) - first) / done)
        rates = self._rates
        return None if not rates else rates[min(round(done * (len(rates) - 1)), len(rates) - 1) :]


def _rates(schedule: Any, first: int, steps: float) -> list[float] | None:
    with keras.device("cpu"):
        return rates_of(schedule, first, steps)
