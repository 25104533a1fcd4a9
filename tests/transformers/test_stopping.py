from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer, TrainerCallback

from standins import nvml as standin
from standins.nvml import Constant, h100
from tests.stopping.replay import PERCENT, Curve, curves, stop_of_the_rule
from tests.transformers.training import BATCH, sentences, trainer_with
from trainwatt import StopReason
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback


class Slow(TrainerCallback):
    """Takes its time over each step, as a GPU would."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(self.step_s)


def trainer_of(folder: Path, values: tuple[float, ...], *callbacks: TrainerCallback, **options: Any) -> Trainer:
    """A Trainer of one step an epoch whose evaluations give these values."""
    defaults = {"eval_strategy": "epoch", "num_train_epochs": len(values), "logging_strategy": "no"}
    trainer = trainer_with(
        folder, *callbacks, train_dataset=sentences(1), eval_dataset=sentences(1)[:BATCH], **(defaults | options)
    )
    made = iter(values)
    trainer.compute_metrics = lambda prediction: {"metric": next(made)}
    return trainer


def evaluations(trainer: Trainer) -> int:
    return sum("eval_metric" in entry for entry in trainer.state.log_history)


def saturating(count: int) -> tuple[float, ...]:
    return tuple(0.9 - 0.8 * 0.5**n for n in range(count))


def rising(count: int) -> tuple[float, ...]:
    return tuple(0.1 + 0.8 * n / count for n in range(count))


@pytest.mark.parametrize("curve", list(curves()), ids=lambda curve: curve.name.split("/")[-1])
def test_a_real_curve_is_stopped_where_the_rule_alone_stops_it(curve: Curve, tmp_path: Path) -> None:
    stopping = GreenEarlyStoppingCallback(
        "metric", curve.mode, min_gain_per_percent=PERCENT, ideal=curve.ideal, devices="ram", verbose=False
    )
    trainer = trainer_of(tmp_path, curve.values, stopping, lr_scheduler_type="constant")
    trainer.train()
    history = stopping.state()["attributes"]["history"]
    assert evaluations(trainer) == (stop_of_the_rule(curve, history) or len(curve.values))


@pytest.mark.parametrize("stopper_first", [True, False])
def test_a_monitor_and_a_stopper_in_different_places_are_refused_before_the_training(
    stopper_first: bool, tmp_path: Path
) -> None:
    monitor = FootprintCallback(devices=["ram"], output_dir=None, verbose=False, zone="FR")
    stopping = GreenEarlyStoppingCallback("metric", "max", zone="PL", devices=["ram"])
    trainer = trainer_of(tmp_path, saturating(3), *((stopping, monitor) if stopper_first else (monitor, stopping)))
    with pytest.raises(ArgumentError, match=r"zone='PL': expected FR \(given\), as for the monitor"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_training_that_no_longer_gains_is_stopped_and_says_why(
    nvml_library: standin.Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = FootprintCallback(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False, zone="FR")
    stopping = GreenEarlyStoppingCallback("metric", "max", zone="FR", devices=["gpu"])
    with nvml_library.running(h100(Constant(200.0))):
        trainer = trainer_of(tmp_path, saturating(60), stopping, callback, Slow(0.02))
        trainer.train()
    made = evaluations(trainer)
    assert 8 < made < 40
    assert stopping.stopping_reason is StopReason.TREND
    assert stopping.last_decision is not None
    assert stopping.last_decision.stop
    assert not stopping.last_decision.diverged
    sentence = stopping.stopping_reason_message or ""
    assert sentence.startswith(f"stopped at step {made}: the next 1 % of the run is expected to bring")
    assert "CO2e of what was planned" in sentence
    assert [record.message for record in caplog.records if "stopped at" in record.message] == [f"trainwatt: {sentence}"]
    verdicts = [event for event in read_events(tmp_path / "run") if event["event"] == "verdict"]
    assert [verdict["stop"] for verdict in verdicts] == [False] * (made - 1) + [True]
    assert sum("stopping/expected_gain_per_kwh" in entry for entry in trainer.state.log_history) == made - 4


def test_a_training_that_keeps_paying_is_not_stopped(nvml_library: standin.Library, tmp_path: Path) -> None:
    stopping = GreenEarlyStoppingCallback("metric", "max", devices=["gpu"])
    with nvml_library.running(h100(Constant(200.0))):
        trainer = trainer_of(tmp_path, rising(30), stopping, Slow(0.01))
        trainer.train()
    assert evaluations(trainer) == 30


def test_the_best_model_is_loaded_at_the_end_as_ever(tmp_path: Path) -> None:
    values = (*saturating(10), *[0.7] * 50)
    best = {"load_best_model_at_end": True, "metric_for_best_model": "metric", "greater_is_better": True}
    stopping = GreenEarlyStoppingCallback(devices="ram")
    trainer = trainer_of(tmp_path, values, stopping, save_strategy="epoch", save_total_limit=2, **best)
    trainer.train()
    assert evaluations(trainer) < 50
    assert trainer.state.best_metric == pytest.approx(max(values))
    assert (trainer.state.best_model_checkpoint or "").endswith("checkpoint-10")


def test_a_budget_stops_within_an_epoch_and_keeps_a_checkpoint(
    nvml_library: standin.Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopping = GreenEarlyStoppingCallback("metric", "max", max_kwh=400 / 3.6e6, devices=["gpu"])
    with nvml_library.running(h100(Constant(200.0))):
        trainer = trainer_of(tmp_path, rising(20), stopping, Slow(0.3), save_strategy="epoch", save_total_limit=1)
        trainer.train()
    assert evaluations(trainer) < 12
    assert "the energy budget of 0.111 Wh is spent" in caplog.text
    assert (tmp_path / "trainer" / f"checkpoint-{trainer.state.global_step}").is_dir()


def test_a_resumed_training_goes_on_with_its_history(tmp_path: Path) -> None:
    values, again = saturating(60), {"save_strategy": "epoch", "restore_callback_states_from_checkpoint": True}
    first = trainer_of(tmp_path, values, GreenEarlyStoppingCallback("metric", "max", devices="ram"), **again)
    first.add_callback(StopAt(6))
    first.train()
    resumed = trainer_of(tmp_path, values[6:], GreenEarlyStoppingCallback("metric", "max", devices="ram"), **again)
    resumed.args.num_train_epochs = 60
    resumed.train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-6"))
    saved = sorted((tmp_path / "trainer").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))[-1]
    state = json.loads((saved / "trainer_state.json").read_text())["stateful_callbacks"]["GreenEarlyStoppingCallback"]
    history = state["attributes"]["history"]
    assert len(history["rule"]["scores"]) == evaluations(resumed) < 50


class StopAt(TrainerCallback):
    """Ends a training after so many steps, as a job's time limit would."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop |= state.global_step >= self.steps


def test_what_is_missing_is_told_as_transformers_tells_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AssertionError, match="requires eval_strategy"):
        trainer_of(tmp_path, rising(2), GreenEarlyStoppingCallback("metric"), eval_strategy="no").train()
    with pytest.raises(AssertionError, match="monitor or metric_for_best_model"):
        trainer_of(tmp_path, rising(2), GreenEarlyStoppingCallback()).train()
    trainer_of(tmp_path, rising(2), GreenEarlyStoppingCallback("accuracy", "max")).train()
    assert "eval_accuracy is not logged" in caplog.text


def test_a_wrong_argument_is_told_before_training() -> None:
    with pytest.raises(ValueError, match="mode must be"):
        GreenEarlyStoppingCallback("metric", "up")
    with pytest.raises(ArgumentError, match="patience"):
        GreenEarlyStoppingCallback("metric", patience=-1)


def test_too_few_evaluations_are_told_once_with_a_way_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer_of(tmp_path, rising(3), GreenEarlyStoppingCallback("metric", "max")).train()
    assert caplog.text.count("too few to stop early") == 1
    assert "eval_steps" in caplog.text
