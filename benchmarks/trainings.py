"""The same small training in each framework: two layers, epochs of 200 steps and an evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

BATCHES, VAL_BATCHES, BATCH, WIDTH, CLASSES = 200, 10, 32, 256, 10


class Training(Protocol):
    """A training, and what its framework calls things.

    Attributes:
        plugin: our package for it.
        step_hooks: what it calls at every step and ours overrides.
        other_hooks: what it calls between the first step and the last, but less often.
    """

    plugin: str
    step_hooks: tuple[str, ...]
    other_hooks: tuple[str, ...]

    def bare(self) -> Any:
        """A callback that does nothing."""

    def ours(self) -> Any:
        """Ours, silent."""

    def fit(self, callbacks: list[Any], epochs: int) -> float:
        """Train; return the wall seconds."""


class InLightning:
    """Without loggers, bars and checkpoints."""

    plugin = "trainwatt_lightning"
    step_hooks = ("on_train_batch_start", "on_train_batch_end")
    other_hooks = (
        "on_train_epoch_start",
        "on_train_epoch_end",
        "on_validation_start",
        "on_validation_epoch_end",
        "on_validation_end",
    )

    def __init__(self) -> None:
        import torch
        from lightning import LightningModule
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset

        class Model(LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))

            def training_step(self, batch: Any, _: int) -> Any:
                return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

            def validation_step(self, batch: Any, _: int) -> None:
                self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=0.01)

        torch.set_num_threads(1)  # two threads on two busy cores wait for each other, which would drown all else
        samples = BATCH * BATCHES
        data = TensorDataset(torch.randn(samples, WIDTH), torch.randint(0, CLASSES, (samples,)))
        self.model, self.loader = Model, DataLoader(data, batch_size=BATCH)

    def bare(self) -> Any:
        """A callback that does nothing."""
        from lightning import Callback

        return Callback()

    def ours(self) -> Any:
        """Ours, silent."""
        from trainwatt_lightning import FootprintMonitor

        return FootprintMonitor(verbose=False)

    def fit(self, callbacks: list[Any], epochs: int) -> float:
        """Train; return the wall seconds."""
        from lightning import Trainer

        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=VAL_BATCHES,
            callbacks=callbacks,
        )
        began_s = time.perf_counter()
        trainer.fit(self.model(), self.loader, self.loader)
        return time.perf_counter() - began_s


class InKeras:
    """One compiled model for all fits: tracing takes longer than an epoch."""

    plugin = "trainwatt_keras"
    step_hooks = ("on_train_batch_begin", "on_train_batch_end")
    other_hooks = ("on_epoch_begin", "on_epoch_end", "on_test_begin", "on_test_end")

    def __init__(self) -> None:
        import keras
        import numpy as np

        if keras.backend.backend() == "torch":
            import torch

            torch.set_num_threads(1)
        layers = [keras.Input((WIDTH,)), keras.layers.Dense(WIDTH, "relu"), keras.layers.Dense(CLASSES)]
        self.model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(keras.optimizers.SGD(0.01), loss)
        x = np.random.default_rng(0).normal(size=(BATCH * BATCHES, WIDTH)).astype("float32")
        self.x, self.y = x, (x[:, 0] > 0).astype("int32")

    def bare(self) -> Any:
        """A callback that does nothing."""
        import keras

        return keras.callbacks.Callback()

    def ours(self) -> Any:
        """Ours, silent."""
        from trainwatt_keras import FootprintMonitor

        return FootprintMonitor(verbose=False)

    def fit(self, callbacks: list[Any], epochs: int) -> float:
        """Train; return the wall seconds."""
        validation = self.x[: BATCH * VAL_BATCHES], self.y[: BATCH * VAL_BATCHES]
        began_s = time.perf_counter()
        self.model.fit(
            self.x,
            self.y,
            batch_size=BATCH,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            validation_data=validation,
            callbacks=callbacks,
        )
        return time.perf_counter() - began_s


class InTransformers:
    """Without reporters, bars and checkpoints; the loss is logged 4 times an epoch."""

    plugin = "trainwatt_transformers"
    step_hooks = ("on_step_end",)
    other_hooks = ("on_epoch_begin", "on_epoch_end", "on_log", "on_evaluate")

    def __init__(self) -> None:
        import torch
        from torch import nn

        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))

            def forward(self, x: Any, labels: Any) -> dict[str, Any]:
                logits = self.net(x)
                return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

        torch.set_num_threads(1)
        rows = zip(torch.randn(BATCH * BATCHES, WIDTH), torch.randint(0, CLASSES, (BATCH * BATCHES,)), strict=True)
        self.model, self.data = Model, [{"x": x, "labels": label} for x, label in rows]

    def bare(self) -> Any:
        """A callback that does nothing."""
        from transformers import TrainerCallback

        return TrainerCallback()

    def ours(self) -> Any:
        """Ours, silent."""
        from trainwatt_transformers import FootprintCallback

        return FootprintCallback(verbose=False)

    def fit(self, callbacks: list[Any], epochs: int) -> float:
        """Train; return the wall seconds."""
        from transformers import PrinterCallback, Trainer, TrainingArguments

        args = TrainingArguments(
            "trainer",
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=BATCH,
            eval_strategy="epoch",
            save_strategy="no",
            logging_steps=BATCHES // 4,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=self.model(),
            args=args,
            train_dataset=self.data,
            eval_dataset=self.data[: BATCH * VAL_BATCHES],
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        began_s = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began_s


TRAININGS: dict[str, Callable[[], Training]] = {
    "Lightning": InLightning,
    "Keras on tensorflow": InKeras,
    "Keras on torch": InKeras,
    "Keras on jax": InKeras,
    "HF Trainer": InTransformers,
}
