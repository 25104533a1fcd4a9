"""Callbacks of ours that are copied, pickled, held by others, or several of a kind."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset

from tests.lightning.training import BATCHES, Classifier, Data, trainer_with
from trainwatt.records.run_folder import read_summary
from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping


def monitor(folder: Path, name: str = "run") -> FootprintMonitor:
    return FootprintMonitor(output_dir=folder, run_name=name, devices="ram", verbose=False, zone="FR")


def stopper(**options: Any) -> GreenEarlyStopping:
    return GreenEarlyStopping("val_loss", devices="ram", zone="FR", **options)


class Holder(Callback):
    """Another project's callback, which holds one and hands it every hook."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_") or name in ("setup", "teardown"):
            return getattr(self.held, name)
        return super().__getattribute__(name)


class Copies(Callback):
    """Copies callbacks in every hook, as tuners and checkpoints may."""

    def __init__(self, *callbacks: Any) -> None:
        self.callbacks, self.copies = callbacks, []  # type: ignore[var-annotated]

    def _copy(self, *args: Any, **kwargs: Any) -> None:
        for each in self.callbacks:
            self.copies += [copy.deepcopy(each), pickle.loads(pickle.dumps(each)), copy.copy(each)]

    setup = on_train_start = on_train_batch_start = on_train_batch_end = on_validation_end = on_train_epoch_end = _copy
    on_train_end = teardown = _copy


def test_callbacks_are_copied_at_any_time_and_the_copies_measure_nothing(tmp_path: Path) -> None:
    ours = [monitor(tmp_path), stopper()]
    copies = Copies(*ours)
    trainer_with(copies, *ours, copies).fit(Classifier(), datamodule=Data())
    assert len(copies.copies) > 6 * BATCHES
    assert ours[0].summary["phases"]["train"]["steps"] == 2 * BATCHES
    assert len(ours[1].state_dict()["rule"]["scores"]) == 2
    for each in copies.copies:
        assert not {"log", "log_dict"} & set(vars(each))
        running = each._controller if isinstance(each, GreenEarlyStopping) else each._run
        assert not running.running
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_copy_can_be_trained_with(tmp_path: Path) -> None:
    ours = monitor(tmp_path)
    copies = Copies(ours)
    trainer_with(ours, copies, max_epochs=1).fit(Classifier(), datamodule=Data())
    again = copies.copies[3]
    trainer_with(again, max_epochs=1).fit(Classifier(), datamodule=Data())
    assert (ours.summary["run"], again.summary["run"]) == ("run", "run-2")


def test_a_callback_among_the_hyperparameters_does_not_end_the_training_at_its_checkpoint(tmp_path: Path) -> None:
    class Kept(Classifier):
        def __init__(self, callback: Any, stopping: Any) -> None:
            super().__init__()
            self.save_hyperparameters()

    ours, stopping = monitor(tmp_path / "footprint"), stopper()
    checkpoint = ModelCheckpoint(tmp_path / "kept")
    trainer_with(ours, stopping, checkpoint, enable_checkpointing=True).fit(Kept(ours, stopping), datamodule=Data())
    assert ours.summary["status"] == "finished"
    kept = torch.load(checkpoint.best_model_path, weights_only=False)["hyper_parameters"]
    assert isinstance(kept["callback"], FootprintMonitor)
    # no module went with it
    assert Path(checkpoint.best_model_path).stat().st_size < 50_000


class OfTrainer(Dataset[Any]):
    """Data that hold the module, and so the Trainer and its callbacks, as far as these can be pickled."""

    def __init__(self, *held: Any) -> None:
        self.held = held

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        return torch.randn(4), torch.tensor(0)


@pytest.mark.slow
def test_workers_that_are_spawned_may_hold_the_trainer(tmp_path: Path) -> None:
    """Spawning is the default on macOS and Windows."""
    ours, stopping, module = monitor(tmp_path), stopper(), Classifier()
    trainer = trainer_with(ours, stopping, max_epochs=1)
    data = OfTrainer(ours, stopping, trainer, module)
    context = multiprocessing.get_context("spawn")
    loader = DataLoader(data, batch_size=8, num_workers=1, multiprocessing_context=context)
    trainer.fit(module, loader, Data().val_dataloader())
    assert ours.summary["status"] == "finished"
    assert ours.summary["phases"]["train"]["steps"] == 2


def test_one_that_another_callback_holds_measures_and_is_resumed(tmp_path: Path) -> None:
    first, second = monitor(tmp_path / "footprint"), monitor(tmp_path / "footprint")
    checkpoint = ModelCheckpoint(tmp_path, save_last=True)
    trainer_with(Holder(first), checkpoint, enable_checkpointing=True).fit(Classifier(), datamodule=Data())
    assert first.summary["phases"]["train"]["steps"] == 2 * BATCHES
    trainer_with(Holder(second), max_epochs=3).fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "last.ckpt")
    assert [each["run"] for each in second.summary["attempts"]] == ["run", "run-2"]


def test_a_stopper_that_another_callback_holds_judges_and_knows_the_monitor(tmp_path: Path) -> None:
    ours, stopping = monitor(tmp_path), stopper()
    trainer_with(Holder(stopping), Holder(ours), max_epochs=3).fit(Classifier(), datamodule=Data())
    assert len(stopping.state_dict()["rule"]["scores"]) == 3
    events = (tmp_path / "run" / "events.jsonl").read_text()
    assert events.count('"verdict"') == 3


@pytest.mark.parametrize("fails", [False, True])
def test_a_monitor_in_a_trainer_within_the_first_measures_both(tmp_path: Path, fails: bool) -> None:
    ours = monitor(tmp_path)
    inner: list[str] = []

    class Unfit(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            raise ZeroDivisionError

    class Evaluates(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            within = trainer_with(ours)
            if fails:
                with pytest.raises(ZeroDivisionError):
                    within.validate(Unfit(), datamodule=Data(), verbose=False)
            else:
                within.validate(Classifier(), datamodule=Data(), verbose=False)
            inner.append(ours.summary["run"])

    trainer = trainer_with(ours, Evaluates())
    trainer.fit(Classifier(), datamodule=Data())
    assert inner == ["run-validate", "run-validate-2"]
    assert (ours.summary["run"], ours.summary["status"]) == ("run", "finished")
    assert ours.summary["phases"]["train"]["steps"] == 2 * BATCHES
    status = "failed" if fails else "finished"
    assert [read_summary(tmp_path / name)["status"] for name in inner] == [status, status]
    assert "save_checkpoint" not in vars(trainer)


def test_two_stoppers_of_one_metric_work_and_are_resumed(tmp_path: Path) -> None:
    """One with a threshold, and one with a budget, whose figures differ between the attempts."""
    first = [stopper(), stopper(max_kwh=1.0)]
    checkpoint = ModelCheckpoint(tmp_path, save_last=True)
    trainer_with(*first, checkpoint, enable_checkpointing=True).fit(Classifier(), datamodule=Data())
    assert len({each.state_key for each in first}) == 2
    second = [stopper(), stopper(max_kwh=2.0)]
    again = trainer_with(*second, ModelCheckpoint(tmp_path), max_epochs=4, enable_checkpointing=True)
    with warnings.catch_warnings(record=True) as told:
        again.fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert [len(each.state_dict()["rule"]["scores"]) for each in second] == [4, 4]
    assert not [each for each in told if "callbacks used to create the checkpoint" in str(each.message)]


def test_two_monitors_are_resumed_each_for_itself(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path / "kept", save_last=True)
    first = [monitor(tmp_path, name) for name in ("a", "b")]
    trainer_with(*first, checkpoint, enable_checkpointing=True).fit(Classifier(), datamodule=Data())
    second = [monitor(tmp_path, name) for name in ("a", "b")]
    trainer_with(*second, max_epochs=3).fit(
        Classifier(), datamodule=Data(), ckpt_path=tmp_path / "kept" / "last.ckpt", weights_only=True
    )
    assert [[each["run"] for each in ours.summary["attempts"]] for ours in second] == [["a", "a-2"], ["b", "b-2"]]


def test_projects_that_take_the_states_of_callbacks_get_ours(tmp_path: Path) -> None:
    ours, stopping = monitor(tmp_path), stopper()
    trainer = trainer_with(ours, stopping)
    trainer.fit(Classifier(), datamodule=Data())
    states = {each.state_key: each.state_dict() for each in trainer.callbacks if each.state_dict()}
    assert states["FootprintMonitor"]["total_j"] == ours.summary["total_j"]
    assert len(states["GreenEarlyStopping{'monitor': 'val_loss', 'mode': 'min'}"]["rule"]["scores"]) == 2


def test_a_checkpoint_of_version_0_2_is_resumed(tmp_path: Path) -> None:
    first, second = monitor(tmp_path), monitor(tmp_path)
    trainer = trainer_with(first)
    trainer.fit(Classifier(), datamodule=Data())
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    checkpoint = torch.load(tmp_path / "new.ckpt", weights_only=False)
    checkpoint["trainwatt"] = {"0": checkpoint["callbacks"].pop("FootprintMonitor")}
    torch.save(checkpoint, tmp_path / "old.ckpt")
    trainer_with(second, max_epochs=3).fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "old.ckpt")
    assert len(second.summary["attempts"]) == 2
