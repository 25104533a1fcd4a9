"""A checkpoint whose figures are damaged: the training goes on, with one warning for each callback, and is measured."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from standins.fuzzing import Draw, mutated
from tests.lightning.training import Classifier, Data, trainer_with
from trainwatt_lightning import FootprintMonitor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    monitor = FootprintMonitor(output_dir=None, zone="FR", verbose=False)
    trainer = trainer_with(monitor, enable_checkpointing=True, default_root_dir=folder, max_epochs=1)
    trainer.fit(Classifier(), datamodule=Data())
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.mark.parametrize("seed", range(8))
def test_it_costs_a_warning_and_not_the_training(
    seed: int, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content: dict[str, Any] = torch.load(checkpoint, weights_only=False)
    states = content["callbacks"]
    (key,) = (each for each in states if "FootprintMonitor" in each)
    draw = Draw(seed)
    states[key] = 5 if seed == 0 else mutated(mutated(states[key], draw), draw)
    torch.save(content, tmp_path / "damaged.ckpt")
    monitor = FootprintMonitor(output_dir=None, zone="FR", verbose=False)
    trainer = trainer_with(monitor, default_root_dir=tmp_path, max_epochs=2)
    with caplog.at_level(logging.WARNING, "trainwatt"):
        trainer.fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "damaged.ckpt", weights_only=False)
    assert monitor.summary["total_j"] > 0
    assert monitor.summary["status"] == "finished"
    assert {"phases", "devices", "attempts", "footprint"} <= monitor.summary.keys()
    assert sum(record.name == "trainwatt" for record in caplog.records) <= 1
