"""A small real training, for all tests of the plugin."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCHES, VAL_BATCHES = 8, 2

torch.set_num_threads(1)  # the network is too small to share, and a busy machine would wait for the other thread


class Data(LightningDataModule):
    """Points of two classes: eight batches to train on, two to validate."""

    def __init__(self, num_workers: int = 0) -> None:
        super().__init__()
        self.num_workers = num_workers

    def _loader(self, batches: int) -> DataLoader[tuple[Tensor, ...]]:
        points = torch.randn(16 * batches, 4, generator=torch.Generator().manual_seed(0))
        labels = (points.sum(1) > 0).long()
        return DataLoader(TensorDataset(points, labels), batch_size=16, num_workers=self.num_workers)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(BATCHES)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(VAL_BATCHES)

    test_dataloader = predict_dataloader = val_dataloader


class Classifier(LightningModule):
    """Two linear layers.

    Args:
        error: raised in training step 7, if any.
    """

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.error = error
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if self.error is not None and self.global_step == 6:
            raise self.error
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    test_step = validation_step

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Names(Logger):
    """Keeps the names of what is logged, and each row."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.rows: list[dict[str, float]] = []

    name, version = "names", 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.seen |= set(metrics)
        self.rows.append(dict(metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


def trainer_with(*callbacks: Any, **options: Any) -> Trainer:
    """A quiet Trainer on the CPU."""
    defaults: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 4,
    }
    return Trainer(callbacks=list(callbacks), **(defaults | options))
