from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from tests.lightning.training import BATCHES, Classifier, Data, trainer_with
from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping

EPOCHS = 4


class Crash(Callback):
    """Ends the process's luck in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        if (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready) == (self.epoch, 4):
            raise ZeroDivisionError


def monitor(folder: Path) -> FootprintMonitor:
    return FootprintMonitor(output_dir=folder / "footprint", run_name="run", devices="ram", verbose=False)


def saving(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, save_last=True)


@pytest.mark.parametrize("epoch", range(1, EPOCHS))
def test_a_crashed_training_goes_on_with_all_that_it_took(tmp_path: Path, epoch: int) -> None:
    first, second = monitor(tmp_path), monitor(tmp_path)
    with pytest.raises(ZeroDivisionError):
        trainer_with(first, saving(tmp_path), Crash(epoch), max_epochs=EPOCHS, enable_checkpointing=True).fit(
            Classifier(), datamodule=Data()
        )
    logger = CSVLogger(tmp_path / "logs")
    again = trainer_with(second, saving(tmp_path), max_epochs=EPOCHS, enable_checkpointing=True, logger=logger)
    again.fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "last.ckpt")
    before, after = second.summary["attempts"]
    assert (before["run"], before["status"], after["run"]) == ("run", "failed", "run-2")
    assert before["total_j"] == pytest.approx(first.summary["total_j"])
    assert second.summary["total_j"] == pytest.approx(before["total_j"] + after["total_j"])
    assert 0 < before["lost_j"] < before["total_j"]
    assert second.summary["phases"]["train"]["steps"] == EPOCHS * BATCHES + 4  # that were made before the crash
    assert float(again.logged_metrics.get("energy/total_kwh", 0)) == 0  # ours go to the logger alone
    assert again.callback_metrics["energy/total_kwh"] * 3.6e6 > before["total_j"]


def test_a_checkpoint_that_is_written_after_the_training_counts_too(tmp_path: Path) -> None:
    first, second = monitor(tmp_path), monitor(tmp_path)
    trainer = trainer_with(first, max_epochs=1)
    trainer.fit(Classifier(), datamodule=Data())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    trainer_with(second, max_epochs=2).fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "last.ckpt")
    assert [each["run"] for each in second.summary["attempts"]] == ["run", "run-2"]
    assert second.summary["attempts"][0]["total_j"] == pytest.approx(first.summary["total_j"])


def test_a_test_of_a_checkpoint_counts_for_itself(tmp_path: Path) -> None:
    ours = monitor(tmp_path)
    trainer = trainer_with(ours, saving(tmp_path), max_epochs=1, enable_checkpointing=True)
    trainer.fit(Classifier(), datamodule=Data())
    trainer.test(Classifier(), datamodule=Data(), ckpt_path=str(tmp_path / "last.ckpt"))
    assert list(ours.summary["phases"]) == [phase for phase in ours.summary["phases"] if phase != "train"]
    assert len(ours.summary["attempts"]) == 1


def test_a_checkpoint_of_a_training_that_was_not_measured_begins_anew(tmp_path: Path) -> None:
    trainer_with(saving(tmp_path), max_epochs=1, enable_checkpointing=True).fit(Classifier(), datamodule=Data())
    ours = monitor(tmp_path)
    trainer_with(ours, max_epochs=2).fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "last.ckpt")
    assert len(ours.summary["attempts"]) == 1
    assert ours.summary["phases"]["train"]["steps"] == BATCHES


class Tunable(Classifier):
    """A model whose learning rate and batch size can be searched."""

    def __init__(self) -> None:
        super().__init__()
        self.lr = 1e-3
        self.batch_size = 2

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.randn(64, 4), torch.randint(0, 2, (64,))), batch_size=self.batch_size)


class Mishap(Callback):
    """Loads the checkpoint of the first epoch again after the second one, as after a loss of NaN."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)
        else:
            connector = trainer._checkpoint_connector
            connector.resume_start(self.path)
            connector.restore_model()
            connector.restore_callbacks()
            connector.resume_end()


def finders(folder: Path) -> list[Callback]:
    return [
        LearningRateFinder(num_training_steps=4, early_stop_threshold=None),
        BatchSizeFinder(max_trials=2, steps_per_trial=1),
        Mishap(folder / "own.ckpt"),
    ]


@pytest.mark.parametrize("kind", range(3))
def test_a_run_that_restores_its_own_checkpoint_counts_once(tmp_path: Path, kind: int) -> None:
    ours, finder = monitor(tmp_path), finders(tmp_path)[kind]
    stopping = GreenEarlyStopping("val_loss", mode="min", devices=["ram"], max_kwh=1.0, min_gain_per_kwh=1e-9)
    began_s = time.perf_counter()
    trainer = trainer_with(ours, stopping, finder, max_epochs=2, enable_checkpointing=True)
    trainer.fit(Tunable(), val_dataloaders=Data().val_dataloader())
    seconds = time.perf_counter() - began_s
    summary, (device,) = ours.summary, ours.summary["devices"]
    assert [each["run"] for each in summary["attempts"]] == ["run"]
    assert summary["seconds"] <= seconds
    assert summary["total_j"] == pytest.approx(device["joules"])
    # the memory draws the same all the time
    train = summary["phases"]["train"]
    watts = train["joules"][device["id"]] / train["seconds"]
    assert device["joules"] == pytest.approx(watts * summary["seconds"], rel=0.02)
    assert stopping.state_dict()["spent_kwh"] * 3.6e6 <= watts * seconds * 1.1
