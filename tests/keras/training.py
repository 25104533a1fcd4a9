"""A small real training, for all scenarios of the plugin."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

BATCH, BATCHES, VAL_BATCHES = 16, 8, 2


class Points(keras.utils.PyDataset):
    """The same points again and again, in batches; its length is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.y = points(BATCHES)

    @property
    def num_batches(self) -> None:
        return None

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        first = index % BATCHES * BATCH
        return self.x[first : first + BATCH], self.y[first : first + BATCH]


class Raises(keras.callbacks.Callback):
    """Raises an error as step 7 begins."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 6:
            raise self.error


class Stops(keras.callbacks.Callback):
    """Stops the training, as EarlyStopping does, at the end of an epoch or of a batch."""

    def __init__(self, epoch: int | None = None, batch: int | None = None) -> None:
        super().__init__()
        self.epoch, self.batch = epoch, batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.batch:
            self.model.stop_training = True


class Recorder(keras.callbacks.Callback):
    """What any other callback sees in the logs."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self.tests: list[dict[str, float]] = []
        self.predictions: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(dict(logs))

    def on_test_end(self, logs: Any = None) -> None:
        self.tests.append(dict(logs))

    def on_predict_end(self, logs: Any = None) -> None:
        self.predictions.append(dict(logs))


def points(batches: int) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(BATCH * batches, 4)).astype("float32")
    return x, (x.sum(1) > 0).astype("int32")


def classifier(**options: Any) -> Any:
    """Two dense layers, always the same."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], **options)
    return model


def fit(*callbacks: Any, model: Any = None, data: Any = None, **options: Any) -> Any:
    """A quiet training of two epochs with an evaluation each."""
    x, y = data if isinstance(data, tuple) else (data, None) if data is not None else points(BATCHES)
    batched = {"batch_size": BATCH} if y is not None else {}
    defaults: dict[str, Any] = {"epochs": 2, "verbose": 0, "validation_data": points(VAL_BATCHES), **batched}
    return (model or classifier()).fit(x, y, callbacks=list(callbacks), **(defaults | options))
