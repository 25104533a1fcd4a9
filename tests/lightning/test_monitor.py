from __future__ import annotations

import csv
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.lightning.training import BATCHES, VAL_BATCHES, Classifier, Data, trainer_with
from trainwatt.records.run_folder import read_events, read_summary
from trainwatt.reporting.progress_bar import UNITS
from trainwatt_lightning import FootprintMonitor

EPOCH_METRICS = {
    "energy/total_kwh",
    "energy/epoch_kwh",
    "energy/train_kwh",
    "energy/validate_kwh",
    "energy/power_w",
    "energy/step_j",
    "energy/measured_share",
    "footprint/co2e_kg",
    "footprint/water_l",
}


@pytest.fixture
def monitor(tmp_path: Path) -> FootprintMonitor:
    return FootprintMonitor(output_dir=tmp_path / "footprint", zone="FR", run_name="run", verbose=False)


def entries(monitor: FootprintMonitor) -> dict[str, int]:
    return {phase: span["entries"] for phase, span in monitor.summary["phases"].items()}


def steps(monitor: FootprintMonitor) -> int:
    return int(monitor.summary["phases"]["train"]["steps"])


def assert_adds_up(summary: dict[str, Any]) -> None:
    by_phase = sum(sum(span["joules"].values()) for span in summary["phases"].values())
    by_device = sum(device["joules"] for device in summary["devices"])
    assert by_phase == pytest.approx(summary["total_j"])
    assert by_device == pytest.approx(summary["total_j"])
    assert sum(span["seconds"] for span in summary["phases"].values()) == pytest.approx(summary["seconds"])
    assert summary["total_j"] > 0


def test_fit_is_measured_phase_by_phase(monitor: FootprintMonitor, tmp_path: Path) -> None:
    trainer = trainer_with(monitor, enable_checkpointing=True, default_root_dir=tmp_path, max_epochs=3)
    trainer.fit(Classifier(), datamodule=Data())
    assert entries(monitor) | {"other": 0} == {
        "setup": 1,
        "sanity_check": 1,
        "train": 3,
        "validate": 3,
        "checkpoint": 3,
        "other": 0,
    }
    assert steps(monitor) == 3 * BATCHES
    assert monitor.summary["status"] == "finished"
    assert monitor.summary["epochs"] == 3
    assert_adds_up(monitor.summary)


def test_the_run_folder_holds_what_the_summary_holds(monitor: FootprintMonitor, tmp_path: Path) -> None:
    trainer_with(monitor).fit(Classifier(), datamodule=Data())
    folder = tmp_path / "footprint" / "run"
    assert read_summary(folder) == monitor.summary
    events = list(read_events(folder))
    assert [events[0]["event"], events[-1]["event"]] == ["start", "end"]
    spans = [event for event in events if event["event"] == "span"]
    assert {(event["epoch"], event["phase"]) for event in spans} >= {
        (e, p) for e in (0, 1) for p in ("train", "validate")
    }
    assert sum(sum(event["joules"].values()) for event in spans) == pytest.approx(monitor.summary["total_j"])


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_every_other_call_of_the_trainer_is_a_run_of_its_own(monitor: FootprintMonitor, stage: str) -> None:
    trainer = trainer_with(monitor)
    getattr(trainer, stage)(Classifier(), datamodule=Data())
    assert monitor.summary["run"] == f"run-{stage}"
    assert entries(monitor)[stage] == 1
    assert "train" not in monitor.summary["phases"]
    assert_adds_up(monitor.summary)


def test_values_reach_every_logger(monitor: FootprintMonitor, tmp_path: Path) -> None:
    loggers = [CSVLogger(tmp_path, version="csv"), TensorBoardLogger(tmp_path, version="tb")]
    trainer_with(monitor, logger=loggers).fit(Classifier(), datamodule=Data())
    with (tmp_path / "lightning_logs" / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) >= EPOCH_METRICS
    assert sum(bool(row["energy/epoch_kwh"]) for row in rows) == 2
    tensorboard = EventAccumulator(str(tmp_path / "lightning_logs" / "tb"))
    tensorboard.Reload()
    assert set(tensorboard.Tags()["scalars"]) >= EPOCH_METRICS
    totals = [event.value for event in tensorboard.Scalars("energy/total_kwh")]
    assert totals == pytest.approx(sorted(totals), rel=0.1)  # the last moments of each are carried on
    assert 0 < totals[-1] < 1.2 * monitor.summary["total_kwh"]


class Slow(Callback):
    """Steps that last until there is a reading, also on a busy machine."""

    def on_train_batch_start(self, *args: Any) -> None:
        time.sleep(0.1)


def test_values_within_an_epoch_come_as_often_as_the_trainer_logs(monitor: FootprintMonitor, tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, version="csv")
    trainer_with(monitor, Slow(), logger=logger, log_every_n_steps=4, max_epochs=1).fit(Classifier(), datamodule=Data())
    with (tmp_path / "lightning_logs" / "csv" / "metrics.csv").open() as file:
        logged = [row["step"] for row in csv.DictReader(file) if row["energy/step_j"] and not row["energy/epoch_kwh"]]
    assert logged == ["3", "7"]


def test_values_are_callback_metrics(monitor: FootprintMonitor) -> None:
    trainer = trainer_with(monitor)
    trainer.fit(Classifier(), datamodule=Data())
    assert set(trainer.callback_metrics) >= EPOCH_METRICS


def test_a_checkpoint_can_be_chosen_by_energy(monitor: FootprintMonitor, tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor="energy/total_kwh", mode="min")
    trainer = trainer_with(monitor, checkpoint, enable_checkpointing=True)
    trainer.fit(Classifier(), datamodule=Data())
    assert checkpoint.best_model_score is not None
    assert 0 < checkpoint.best_model_score < trainer.callback_metrics["energy/total_kwh"]


@pytest.mark.parametrize("shown", [True, False])
def test_the_progress_bar_shows_energy_if_wanted(tmp_path: Path, shown: bool) -> None:
    monitor = FootprintMonitor(output_dir=None, verbose=False, prog_bar=shown)
    trainer = trainer_with(monitor, enable_progress_bar=True)
    trainer.fit(Classifier(), datamodule=Data())
    assert len(trainer.progress_bar_metrics.keys() & UNITS) == shown


@pytest.mark.parametrize(
    ("options", "expected_steps", "evaluations"),
    [
        ({"accumulate_grad_batches": 4}, 2 * BATCHES, 2),
        ({"val_check_interval": 0.25}, 2 * BATCHES, 8),
        ({"val_check_interval": 3}, 2 * BATCHES, 4),
        ({"max_steps": 11, "max_epochs": -1}, 11, 1),
        ({"limit_train_batches": 3, "limit_val_batches": 0}, 6, 0),
        ({"limit_train_batches": 1}, 2, 2),
        ({"check_val_every_n_epoch": 2}, 2 * BATCHES, 1),
        ({"num_sanity_val_steps": 0}, 2 * BATCHES, 2),
        ({"fast_dev_run": True}, 1, 1),
        ({"barebones": True, "logger": None, "log_every_n_steps": None}, 2 * BATCHES, 2),
    ],
)
def test_the_trainers_options_are_respected(
    monitor: FootprintMonitor, options: dict[str, Any], expected_steps: int, evaluations: int
) -> None:
    trainer_with(monitor, **options).fit(Classifier(), datamodule=Data())
    assert steps(monitor) == expected_steps
    assert entries(monitor).get("validate", 0) == evaluations
    assert_adds_up(monitor.summary)


def test_an_exception_reaches_the_user_and_the_totals_are_written(monitor: FootprintMonitor, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="in step 7"):
        trainer_with(monitor).fit(Classifier(ZeroDivisionError("in step 7")), datamodule=Data())
    assert monitor.summary["status"] == "failed"
    assert steps(monitor) == 6
    assert read_summary(tmp_path / "footprint" / "run") == monitor.summary
    assert_adds_up(monitor.summary)


def test_an_interrupt_ends_the_run_with_its_totals(monitor: FootprintMonitor) -> None:
    with pytest.raises(SystemExit):
        trainer_with(monitor).fit(Classifier(KeyboardInterrupt()), datamodule=Data())
    assert monitor.summary["status"] == "interrupted"
    assert_adds_up(monitor.summary)


def test_after_a_failure_the_next_fit_starts_clean(monitor: FootprintMonitor) -> None:
    with pytest.raises(ZeroDivisionError):
        trainer_with(monitor).fit(Classifier(ZeroDivisionError()), datamodule=Data())
    trainer_with(monitor).fit(Classifier(), datamodule=Data())
    assert monitor.summary["run"] == "run-2"
    assert monitor.summary["status"] == "finished"
    assert steps(monitor) == 2 * BATCHES


def test_training_itself_is_the_same_with_and_without(monitor: FootprintMonitor) -> None:
    outcomes = []
    for callbacks in ([], [monitor]):
        model = Classifier()
        trainer_with(*callbacks).fit(model, datamodule=Data())
        outcomes.append((model.losses, [parameter.clone() for parameter in model.parameters()]))
    assert outcomes[0][0] == outcomes[1][0]
    assert all(torch.equal(a, b) for a, b in zip(outcomes[0][1], outcomes[1][1], strict=True))


def test_a_monitor_leaves_the_trainer_as_it_was(monitor: FootprintMonitor, tmp_path: Path) -> None:
    trainer = trainer_with(monitor)
    trainer.fit(Classifier(), datamodule=Data())
    assert "save_checkpoint" not in vars(trainer)
    trainer.save_checkpoint(tmp_path / "by hand.ckpt")
    assert (tmp_path / "by hand.ckpt").exists()


def test_a_run_that_is_resumed_within_an_epoch_is_measured(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, every_n_train_steps=5, save_top_k=-1, filename="{step}")
    first = FootprintMonitor(output_dir=None, verbose=False)
    trainer_with(first, checkpoint, enable_checkpointing=True, max_epochs=1).fit(Classifier(), datamodule=Data())
    second = FootprintMonitor(output_dir=None, verbose=False)
    trainer_with(second, max_epochs=1).fit(Classifier(), datamodule=Data(), ckpt_path=tmp_path / "step=5.ckpt")
    assert steps(second) == BATCHES  # 5 of them before the checkpoint
    assert_adds_up(second.summary)


def test_data_loader_workers_are_left_alone(monitor: FootprintMonitor, capfd: pytest.CaptureFixture[str]) -> None:
    trainer_with(monitor, max_epochs=1).fit(Classifier(), datamodule=Data(num_workers=2))
    assert steps(monitor) == BATCHES
    printed = capfd.readouterr().err
    assert "trainwatt: " not in printed
    assert "Traceback" not in printed


def test_a_projection_and_a_summary_are_printed_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer_with(FootprintMonitor(output_dir=tmp_path, zone="FR")).fit(Classifier(), datamodule=Data())
    printed = capsys.readouterr().out
    lines = Counter(line.split(" ")[0] for line in printed.splitlines())
    assert lines["trainwatt:"] == 2
    assert lines["train"] == lines["validate"] == lines["total"] == 1
    assert "France" in printed
    assert str(tmp_path) in printed


def test_a_quiet_monitor_prints_nothing(monitor: FootprintMonitor, capsys: pytest.CaptureFixture[str]) -> None:
    trainer_with(monitor).fit(Classifier(), datamodule=Data())
    assert "trainwatt: " not in capsys.readouterr().out


def test_two_monitors_measure_the_same_run_each_for_itself(tmp_path: Path) -> None:
    monitors = [FootprintMonitor(output_dir=tmp_path, run_name=name, verbose=False) for name in ("a", "b")]
    trainer_with(*monitors).fit(Classifier(), datamodule=Data())
    assert [monitor.summary["run"] for monitor in monitors] == ["a", "b"]
    for monitor in monitors:
        assert_adds_up(monitor.summary)


def test_evaluation_batches_are_no_training_steps(monitor: FootprintMonitor) -> None:
    trainer_with(monitor, limit_val_batches=VAL_BATCHES).fit(Classifier(), datamodule=Data())
    assert monitor.summary["phases"]["validate"]["steps"] == 0


def test_parts_of_ones_own_are_counted_in_their_phase(monitor: FootprintMonitor) -> None:
    class Augments(Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            with monitor.part("augmentation"):
                time.sleep(0.01)

    trainer_with(monitor, Augments(), max_epochs=2).fit(Classifier(), datamodule=Data())
    part = monitor.summary["phases"]["train"]["labels"]["augmentation"]
    assert part["entries"] == 2 * BATCHES
    assert 0.01 * part["entries"] <= part["seconds"] < monitor.summary["phases"]["train"]["seconds"]
    assert_adds_up(monitor.summary)
