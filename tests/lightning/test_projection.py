from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from tests.lightning.training import BATCHES, VAL_BATCHES, Classifier, Data, trainer_with
from trainwatt.errors import ArgumentError
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events
from trainwatt_lightning import FootprintMonitor
from trainwatt_lightning.plan import plan_of

METRICS = {
    "projection/total_kwh",
    "projection/total_kwh_low",
    "projection/total_kwh_high",
    "projection/co2e_kg",
    "projection/remaining_s",
}


class Planner(Callback):
    """What is planned as the first epoch begins."""

    def __init__(self) -> None:
        self.plan: Plan | None = None

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.plan = self.plan or plan_of(trainer)


def monitor_with(tmp_path: Path, **options: Any) -> FootprintMonitor:
    return FootprintMonitor(**({"output_dir": tmp_path / "fp", "run_name": "run", "zone": "FR"} | options))


def projections(tmp_path: Path) -> list[dict[str, Any]]:
    return [event for event in read_events(tmp_path / "fp" / "run") if event["event"] == "projection"]


def projection_lines(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if "whole run" in line]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3},
        {"accumulate_grad_batches": 3, "max_steps": 4},
        {"val_check_interval": 0.25},
        {"val_check_interval": 3},
        {"val_check_interval": 3, "check_val_every_n_epoch": None},
        {"max_steps": 11, "max_epochs": -1},
        {"max_steps": 3, "max_epochs": 4},
        {"limit_train_batches": 3, "limit_val_batches": 0},
        {"check_val_every_n_epoch": 2, "max_epochs": 5},
        {"fast_dev_run": True},
    ],
)
def test_what_is_planned_is_what_happens(tmp_path: Path, options: dict[str, Any]) -> None:
    monitor, planner = monitor_with(tmp_path, verbose=False), Planner()
    trainer_with(monitor, planner, **options).fit(Classifier(), datamodule=Data())
    plan, phases = planner.plan, monitor.summary["phases"]
    assert plan is not None
    steps = phases["train"]["steps"]
    assert plan.total_steps() == steps
    assert (
        plan.evaluations(steps / (plan.steps_per_epoch or BATCHES), steps)
        == phases.get("validate", {"entries": 0})["entries"]
    )


def test_a_training_without_an_end_is_not_projected(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = trainer.current_epoch == 2

    monitor = monitor_with(tmp_path, verbose=False)
    trainer = trainer_with(monitor, Stop(), max_epochs=-1)
    trainer.fit(Classifier(), datamodule=Data())
    assert projections(tmp_path) == []
    assert not METRICS & set(trainer.callback_metrics)
    assert monitor.summary["projection"] is None


def test_a_training_is_projected_from_its_first_epoch_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = monitor_with(tmp_path)
    trainer_with(monitor, logger=CSVLogger(tmp_path, version="csv"), max_epochs=3).fit(Classifier(), datamodule=Data())
    with (tmp_path / "lightning_logs" / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["energy/epoch_kwh"]]
    assert all(set(row) >= METRICS and row["projection/total_kwh"] for row in rows)
    for row in rows:
        low, central, high = (float(row[f"projection/total_kwh{end}"]) for end in ("_low", "", "_high"))
        assert float(row["energy/total_kwh"]) <= low * (1 + 1e-6) <= central * (1 + 2e-6) <= high * (1 + 3e-6)
    assert float(rows[-1]["projection/total_kwh"]) == pytest.approx(float(rows[-1]["energy/total_kwh"]))
    assert float(rows[-1]["projection/remaining_s"]) == 0
    line = projection_lines(capsys.readouterr().out)[0]
    assert line.startswith("trainwatt: epoch 1 of 3; whole run about ")
    assert line.endswith(" s left")
    assert [event["epochs"] for event in projections(tmp_path)] == [1, 2, 3]
    assert monitor.summary["projection"]["steps"] == 3 * BATCHES


def test_early_stopping_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patience = EarlyStopping("val_loss", patience=9)
    trainer_with(monitor_with(tmp_path), patience).fit(Classifier(), datamodule=Data())
    assert projection_lines(capsys.readouterr().out)[0].endswith("left; if it runs to the end")


def test_a_number_of_steps_may_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer_with(monitor_with(tmp_path, project_after=5), max_epochs=3).fit(Classifier(), datamodule=Data())
    assert projection_lines(capsys.readouterr().out)[0].startswith("trainwatt: step 5 of 24; whole run about ")
    assert [event["steps"] for event in projections(tmp_path)] == [5, 8, 16, 24]


def test_it_may_be_turned_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trainer_with(monitor_with(tmp_path, project_after=None))
    trainer.fit(Classifier(), datamodule=Data())
    assert projection_lines(capsys.readouterr().out) == projections(tmp_path) == []
    assert not METRICS & set(trainer.callback_metrics)


def test_a_resumed_run_is_projected_for_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = ModelCheckpoint(tmp_path, every_n_train_steps=5, save_top_k=-1, filename="{step}")
    trainer_with(checkpoint, enable_checkpointing=True, max_epochs=1).fit(Classifier(), datamodule=Data())
    monitor = monitor_with(tmp_path)
    trainer_with(monitor, max_epochs=4).fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "step=5.ckpt")
    assert projection_lines(capsys.readouterr().out)[0].startswith("trainwatt: epoch 1 of 4; ")
    assert projections(tmp_path)[0]["steps"] == BATCHES - 5
    last = projections(tmp_path)[-1]
    assert last["steps"] == 4 * BATCHES - 5 == monitor.summary["phases"]["train"]["steps"]
    assert last["remaining_s"] == 0


def test_the_batches_of_evaluations_are_known_before_the_first(tmp_path: Path) -> None:
    planner = Planner()
    trainer_with(planner, check_val_every_n_epoch=2).fit(Classifier(), datamodule=Data())
    assert planner.plan is not None
    assert planner.plan.validation_batches == VAL_BATCHES


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "step"])
def test_a_wrong_argument_is_told_at_construction(value: Any) -> None:
    with pytest.raises(ArgumentError, match="project_after"):
        FootprintMonitor(project_after=value)
