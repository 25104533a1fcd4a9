"""The training that faults happen to, in each framework: two epochs of four steps, with an evaluation each."""

# ruff: noqa: PLC0415  # only the framework that is asked for

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS, STEPS, STEP_S = 2, 4, 0.02


@dataclass
class Trained:
    """Outcome of a training, in the framework's own terms.

    Attributes:
        losses: as the framework has them.
        weights: digest of the trained weights.
        raised: name of the exception that left it.
        columns: lengths of the columns in the framework's history; all are equal, or it is ragged.
    """

    losses: list[float] = field(default_factory=list)
    weights: str = ""
    raised: str | None = None
    columns: list[int] = field(default_factory=list)


# What did not hold, by fault and moment; None: the training does not stand the fault without us either.
Results = dict[str, dict[str, list[str] | None]]
# Called with the name of each moment as it comes.
Strike = Callable[[str], None]


def digest(weights: list[Any]) -> str:
    """Return a digest of weights, bit for bit."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in weights)).hexdigest()


class Moments:
    """Steps and evaluations of a training, as the moments of the table."""

    def __init__(self, strike: Strike) -> None:
        self._strike = strike
        self._steps = self._epochs = 0

    def step(self) -> None:
        """Take the time of a step, after a fault in the second one."""
        self._steps += 1
        if self._steps == 2:
            self._strike("step")
        time.sleep(STEP_S)

    def evaluated(self) -> None:
        """Note the end of the first evaluation."""
        self._strike("evaluation")

    def epoch(self) -> None:
        """Note the end of an epoch."""
        self._epochs += 1
        if self._epochs == EPOCHS:
            self._strike("last epoch")


class Lightning:
    """Training in Lightning."""

    def callbacks(self, **options: Any) -> list[Any]:
        """Return our callbacks, the monitor first."""
        from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping

        return [FootprintMonitor(**options), GreenEarlyStopping("val_loss", max_kwh=1e3, zone="FR", devices=["gpu"])]

    def train(self, folder: Path, ours: Sequence[Any], strike: Strike) -> Trained:
        """Train, with our callbacks or without."""
        from lightning import Callback

        from tests.lightning.training import Classifier, Data, Names, trainer_with

        moments = Moments(strike)

        class Striker(Callback):
            def on_train_batch_start(self, *_: Any) -> None:
                moments.step()

            def on_validation_end(self, *_: Any) -> None:
                moments.evaluated()

            def on_train_epoch_end(self, *_: Any) -> None:
                moments.epoch()

        trainer = trainer_with(
            Striker(),
            *ours,
            max_epochs=EPOCHS,
            limit_train_batches=STEPS,
            num_sanity_val_steps=0,
            log_every_n_steps=2,
            logger=[Names()],
        )
        model = Classifier()
        return trained_by(
            lambda: trainer.fit(model, datamodule=Data()),
            lambda trained: (
                trained.losses.extend(model.losses),
                setattr(trained, "weights", digest([each.detach().numpy() for each in model.parameters()])),
            ),
        )


class Keras:
    """Training in Keras."""

    def callbacks(self, **options: Any) -> list[Any]:
        """Return our callbacks, the monitor first."""
        from trainwatt_keras import FootprintMonitor, GreenEarlyStopping

        return [FootprintMonitor(**options), GreenEarlyStopping("val_loss", max_kwh=1e3, zone="FR", devices=["gpu"])]

    def train(self, folder: Path, ours: Sequence[Any], strike: Strike) -> Trained:
        """Train, with our callbacks or without."""
        import keras

        from tests.keras.training import BATCH, classifier, points

        moments = Moments(strike)

        class Striker(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                moments.step()

            def on_test_end(self, logs: Any = None) -> None:
                moments.evaluated()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                moments.epoch()

        model, history = classifier(), keras.callbacks.History()
        x, y = points(STEPS)
        options = {"batch_size": BATCH, "verbose": 0, "validation_data": points(2), "epochs": EPOCHS}
        return trained_by(
            lambda: model.fit(x, y, callbacks=[Striker(), history, *ours], **options),
            lambda trained: (
                trained.losses.extend(history.history.get("loss", [])),
                trained.columns.extend(len(column) for column in history.history.values()),
                setattr(trained, "weights", digest(model.get_weights())),
            ),
        )


class Transformers:
    """Training with the Hugging Face Trainer."""

    def callbacks(self, **options: Any) -> list[Any]:
        """Return our callbacks, the monitor first."""
        from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback

        budget = GreenEarlyStoppingCallback("loss", "min", max_kwh=1e3, zone="FR", devices=["gpu"])
        return [FootprintCallback(**options), budget]

    def train(self, folder: Path, ours: Sequence[Any], strike: Strike) -> Trained:
        """Train, with our callbacks or without."""
        from transformers import TrainerCallback

        from tests.transformers.training import sentences, trainer_with

        moments = Moments(strike)

        class Striker(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                moments.step()

            def on_evaluate(self, *_: Any, **__: Any) -> None:
                moments.evaluated()

            def on_epoch_end(self, *_: Any, **__: Any) -> None:
                moments.epoch()

        trainer = trainer_with(
            folder,
            Striker(),
            *ours,
            train_dataset=sentences(STEPS),
            num_train_epochs=EPOCHS,
            eval_strategy="epoch",
            logging_steps=2,
        )
        return trained_by(
            trainer.train,
            lambda trained: (
                trained.losses.extend(entry["loss"] for entry in trainer.state.log_history if "loss" in entry),
                setattr(trained, "weights", digest([each.detach().numpy() for each in trainer.model.parameters()])),
            ),
        )


class Loop:
    """Training in a loop of one's own."""

    def callbacks(self, **options: Any) -> list[Any]:
        """Return a tracker."""
        from trainwatt import measure

        return [measure(**options)]

    def train(self, folder: Path, ours: Sequence[Any], strike: Strike) -> Trained:
        """Train, measured or not."""
        moments, losses = Moments(strike), []
        draw, weights = np.random.default_rng(0), np.zeros(4)

        def loop(epochs: Any, step: Callable[[], None], validate: Callable[[float], None]) -> None:
            for _ in epochs:
                for _ in range(STEPS):
                    moments.step()
                    x = draw.normal(size=(16, 4))
                    error = x @ weights - x.sum(1)
                    weights[:] -= 0.1 * x.T @ error / 16
                    losses.append(float((error**2).mean()))
                    step()
                validate(losses[-1])
                moments.evaluated()
                moments.epoch()

        def measured() -> None:
            with ours[0] as run:

                def validate(loss: float) -> None:
                    with run.phase("validate"):
                        run.metric("loss", loss)

                loop(run.epochs(EPOCHS), run.step, validate)

        def bare() -> None:
            loop(range(EPOCHS), lambda: None, lambda _: None)

        return trained_by(
            measured if ours else bare,
            lambda trained: (trained.losses.extend(losses), setattr(trained, "weights", digest([weights]))),
        )


FRAMEWORKS = {"lightning": Lightning, "keras": Keras, "transformers": Transformers, "loop": Loop}


def trained_by(fit: Callable[[], Any], read: Callable[[Trained], Any]) -> Trained:
    """Train, and return what came of it, however it ended."""
    trained = Trained()
    try:
        fit()
    except BaseException as error:  # noqa: BLE001  # one of the faults
        trained.raised = type(error).__name__
    read(trained)
    return trained
