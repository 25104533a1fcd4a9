"""The same training three times: to its end, stopped by patience, and stopped green.

Run it with ``python examples/lightning_green.py``; needs ``trainwatt[lightning]`` and scikit-learn.
"""

from __future__ import annotations

import warnings

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping


class Classifier(LightningModule):
    """Handwritten digits, by one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.best = 0.0

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Cross entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Accuracy."""
        images, labels = batch
        accuracy = (self.net(images).argmax(1) == labels).float().mean()
        self.best = max(self.best, accuracy.item())
        self.log("val_acc", accuracy)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def train(max_epochs: int, *stopping: Callback) -> tuple[int, float, float]:
    """Epochs made, joules taken, best accuracy."""
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target))
    training, validation = random_split(data, [0.7, 0.3])
    monitor = FootprintMonitor(output_dir=None, verbose=False)
    trainer = Trainer(
        max_epochs=max_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[monitor, *stopping],
    )
    model = Classifier()
    trainer.fit(model, DataLoader(training, batch_size=64, shuffle=True), DataLoader(validation, batch_size=540))
    return monitor.summary["epochs"], monitor.summary["total_j"], model.best


def main(max_epochs: int = 100) -> None:
    """Train three times and print what each took and brought."""
    torch.set_num_threads(1)  # the network is too small to share
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the data are in memory
    ways = {
        "to its end": [],
        "patience 20": [EarlyStopping("val_acc", mode="max", patience=20)],
        "green": [GreenEarlyStopping("val_acc", mode="max")],
    }
    print(f"{'':12}{'epochs':>8}{'joules':>8}{'best val_acc':>14}")
    for name, stopping in ways.items():
        epochs, joules, accuracy = train(max_epochs, *stopping)
        print(f"{name:12}{epochs:8}{joules:8.1f}{accuracy:14.3f}")


if __name__ == "__main__":
    main()
