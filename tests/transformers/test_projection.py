from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import EarlyStoppingCallback, TrainerCallback

from tests.transformers.training import BATCH, BATCHES, trainer_with
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events
from trainwatt_transformers import FootprintCallback
from trainwatt_transformers.plan import plan_of

METRICS = {
    "projection/total_kwh",
    "projection/total_kwh_low",
    "projection/total_kwh_high",
    "projection/co2e_kg",
    "projection/remaining_s",
}


class Planner(TrainerCallback):
    """What is planned as the training begins."""

    def __init__(self) -> None:
        self.plan: Plan | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.plan = plan_of(args, state, kwargs["train_dataloader"], kwargs["eval_dataloader"] or [], [])


def callback_with(tmp_path: Path, **options: Any) -> FootprintCallback:
    return FootprintCallback(**({"output_dir": tmp_path / "fp", "run_name": "run", "zone": "FR"} | options))


def projections(tmp_path: Path) -> list[dict[str, Any]]:
    return [event for event in read_events(tmp_path / "fp" / "run") if event["event"] == "projection"]


def projection_lines(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if "whole run" in line]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 4},
        {"eval_strategy": "steps", "eval_steps": 5},
        {"eval_strategy": "steps", "eval_steps": 4},
        {"eval_strategy": "epoch", "num_train_epochs": 3},
        {"max_steps": 8, "eval_strategy": "epoch"},
        {"num_train_epochs": 1.5, "eval_strategy": "epoch"},
        {"num_train_epochs": 1, "eval_strategy": "steps", "eval_steps": 2},
    ],
)
def test_what_is_planned_is_what_happens(tmp_path: Path, options: dict[str, Any]) -> None:
    callback, planner = callback_with(tmp_path, verbose=False), Planner()
    trainer_with(tmp_path, callback, planner, **options).train()
    plan, phases = planner.plan, callback.summary["phases"]
    assert plan is not None
    assert plan.steps_per_epoch is not None
    steps = phases["train"]["steps"]
    assert plan.total_steps() == steps
    epochs = steps / plan.steps_per_epoch
    evaluations = plan.evaluations(epochs, steps) + plan.ends_between(epochs, steps)
    assert evaluations == phases.get("validate", {"entries": 0})["entries"]


def test_a_training_is_projected_from_its_first_epoch_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = callback_with(tmp_path)
    trainer = trainer_with(tmp_path, callback, num_train_epochs=3, eval_strategy="epoch")
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "energy/epoch_kwh" in entry]
    assert all(set(entry) >= METRICS for entry in entries)
    for entry in entries:
        low, central, high = (entry[f"projection/total_kwh{end}"] for end in ("_low", "", "_high"))
        assert entry["energy/total_kwh"] <= low * (1 + 1e-9) <= central * (1 + 2e-9) <= high * (1 + 3e-9)
    assert entries[-1]["projection/total_kwh"] == pytest.approx(entries[-1]["energy/total_kwh"])
    within = [entry for entry in trainer.state.log_history if "loss" in entry and entry["epoch"] > 1]
    assert all("projection/remaining_s" in entry for entry in within)
    assert projection_lines(capsys.readouterr().out)[0].startswith("trainwatt: epoch 1 of 3; whole run about ")
    assert [event["epochs"] for event in projections(tmp_path)] == [1, 2, 3]
    assert callback.summary["projection"]["steps"] == 3 * BATCHES


def test_a_fine_tuning_of_one_epoch_is_projected_after_its_first_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = trainer_with(tmp_path, callback_with(tmp_path), num_train_epochs=1, logging_steps=20)
    trainer.train_dataset = trainer.train_dataset * 10
    trainer.train()
    assert len(trainer.train_dataset) == 60 * BATCH
    assert projection_lines(capsys.readouterr().out)[0].startswith("trainwatt: step 50 of 60; whole run about ")
    assert [event["steps"] for event in projections(tmp_path)] == [50, 60]
    assert [set(entry) >= METRICS for entry in trainer.state.log_history if "loss" in entry] == [False, False, True]


def test_a_training_by_steps_is_projected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"max_steps": 15, "eval_strategy": "steps", "eval_steps": 4}
    trainer_with(tmp_path, callback_with(tmp_path, project_after=5), **options).train()
    assert projection_lines(capsys.readouterr().out)[0].startswith("trainwatt: step 5 of 15; whole run about ")
    assert projections(tmp_path)[-1]["remaining_s"] == 0


def test_early_stopping_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    trainer_with(tmp_path, callback_with(tmp_path), EarlyStoppingCallback(9), **options).train()
    assert projection_lines(capsys.readouterr().out)[0].endswith("left; if it runs to the end")


def test_it_may_be_turned_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trainer_with(tmp_path, callback_with(tmp_path, project_after=None))
    trainer.train()
    assert projection_lines(capsys.readouterr().out) == projections(tmp_path) == []
    assert not any(METRICS & set(entry) for entry in trainer.state.log_history)


def test_a_resumed_training_is_projected_for_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"num_train_epochs": 4, "save_strategy": "steps", "save_steps": 8}
    trainer_with(tmp_path, **options, max_steps=8).train()
    callback = callback_with(tmp_path)
    trainer_with(tmp_path, callback, **options).train(resume_from_checkpoint=True)
    assert callback.summary["phases"]["train"]["steps"] == 4 * BATCHES - 8
    assert projection_lines(capsys.readouterr().out)[0].startswith("trainwatt: epoch 2 of 4; whole run about ")
    first, *_, last = projections(tmp_path)
    assert first["steps"] == 2 * BATCHES - 8
    assert (last["steps"], last["remaining_s"]) == (4 * BATCHES - 8, 0)
