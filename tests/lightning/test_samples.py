"""The energy of a sample that is evaluated, tested or predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from tests.lightning.training import Classifier, Data
from trainwatt_lightning import FootprintMonitor


class OfTexts(LightningModule):
    """Its batches do not tell how many samples they hold."""

    def predict_step(self, batch: Any, batch_idx: int) -> int:
        return len(batch)


def trainer_with(monitor: FootprintMonitor, tmp_path: Path) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=[monitor],
        logger=False,
        max_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )


@pytest.mark.parametrize("call", ["validate", "test", "predict"])
def test_a_call_by_itself_tells_the_energy_of_a_sample(call: str, tmp_path: Path) -> None:
    monitor, data = FootprintMonitor(output_dir=None, zone="FR", verbose=False), Data()
    loader = data.val_dataloader()
    getattr(trainer_with(monitor, tmp_path), call)(Classifier(), loader)
    samples = sum(len(batch[0]) for batch in loader)
    assert monitor.summary["samples"] == samples
    joules = sum(monitor.summary["phases"][call]["joules"].values())
    assert monitor.summary["sample_j"] == pytest.approx(joules / samples)


def test_an_evaluation_within_a_training_is_none_by_itself(tmp_path: Path) -> None:
    monitor = FootprintMonitor(output_dir=None, zone="FR", verbose=False)
    trainer_with(monitor, tmp_path).fit(Classifier(), Data())
    assert monitor.summary["samples"] is None


def test_samples_that_cannot_be_counted_are_not_guessed(tmp_path: Path) -> None:
    monitor = FootprintMonitor(output_dir=None, zone="FR", verbose=False)
    loader = DataLoader([torch.zeros(2), torch.zeros(2)], collate_fn=lambda rows: [str(row) for row in rows])  # type: ignore[arg-type]
    trainer_with(monitor, tmp_path).predict(OfTexts(), loader)
    assert monitor.summary["samples"] is None
    assert monitor.summary["sample_j"] is None
