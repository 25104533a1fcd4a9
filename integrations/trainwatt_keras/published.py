"""Our values in Keras's logs: what is there in one epoch is there in every later one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from keras.callbacks import History


class Published:
    """Values in the logs of one training, evaluation or prediction.

    ``CSVLogger`` takes its columns from the first epoch, and ``History`` keeps one list per name, so a name that comes
    or goes later would be lost or leave the lists of different lengths.

    Attributes:
        values: the latest values, by name.
        figures: those that the progress bar is made of.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.figures: dict[str, float] = {}

    def clear(self) -> None:
        """Begin a run."""
        self.values.clear()
        self.figures.clear()

    def publish(
        self,
        values: Mapping[str, float],
        logs: Iterable[dict[str, Any] | None],
        callbacks: Iterable[object],
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """Add values to the logs; a name that was published before and has no value now is NaN.

        Args:
            values: by name.
            logs: the dictionaries that Keras hands from one callback to the next.
            callbacks: all callbacks of the training.
            figures: what the progress bar is made of; None: the values.
        """
        new = values.keys() - self.values.keys() if self.values else set()
        for callback in callbacks:
            self._forget_unknown(callback)
            if isinstance(callback, History):
                _fill(callback, new)
        for name in self.values:
            self.values[name] = math.nan
        self.values.update(values)
        self.figures.clear()
        shown = values if figures is None else figures
        self.figures.update({name: value for name, value in shown.items() if math.isfinite(value)})
        for each in logs:
            if each is not None:
                each.update(self.values)

    def _forget_unknown(self, callback: object) -> None:
        """Let a callback that monitors one of our values forget NaN as its best, which no value would ever beat."""
        best = getattr(callback, "best", None)
        if isinstance(best, float) and math.isnan(best) and getattr(callback, "monitor", None) in self.values:
            callback.best = None  # type: ignore[attr-defined]  # it has one


def _fill(history: History, names: Iterable[str]) -> None:
    """Fill the earlier epochs of names that come later."""
    epochs = len(getattr(history, "epoch", ()))
    for name in names:
        if epochs:
            history.history.setdefault(name, [math.nan] * epochs)
