"""Train a small network on scikit-learn's handwritten digits, stop when it no longer pays, and see what it took.

Run it with ``python examples/lightning_digits.py``; needs ``trainwatt[lightning]`` and scikit-learn.
"""

from __future__ import annotations

import warnings

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping


class Digits(LightningDataModule):
    """1,797 grey images of 8 x 8 pixels: four fifths to train on, one fifth to validate."""

    def setup(self, stage: str) -> None:
        """Load and split."""
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
        data = TensorDataset(images, torch.tensor(digits.target))
        self.train, self.validation = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Shuffled batches of 32."""
        return DataLoader(self.train, batch_size=32, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of 128."""
        return DataLoader(self.validation, batch_size=128)


class Classifier(LightningModule):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 64, 10),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Cross entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Accuracy."""
        images, labels = batch
        accuracy = (self.net(images).argmax(1) == labels).float().mean()
        self.log("val_acc", accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main(max_epochs: int = 30) -> FootprintMonitor:
    """Train, and return the monitor."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the network is too small to share
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the data are in memory
    monitor, stopping = FootprintMonitor(), GreenEarlyStopping("val_acc", mode="max")
    trainer = Trainer(max_epochs=max_epochs, logger=CSVLogger("."), log_every_n_steps=10, callbacks=[monitor, stopping])
    trainer.fit(Classifier(), datamodule=Digits())
    print("val_acc", round(trainer.callback_metrics["val_acc"].item(), 3))
    return monitor


if __name__ == "__main__":
    main()
