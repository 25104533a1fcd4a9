from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from tests.transformers.training import BATCHES, trainer_with
from trainwatt.site import Site
from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback

EPOCHS = 4
OPTIONS: dict[str, Any] = {"num_train_epochs": EPOCHS, "save_strategy": "epoch", "eval_strategy": "epoch"}


class Crash(TrainerCallback):
    """Ends the process's luck in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.step = epoch * BATCHES + 3

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise ZeroDivisionError


def callback(folder: Path) -> FootprintCallback:
    return FootprintCallback(output_dir=folder / "footprint", run_name="run", devices="ram", verbose=False)


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("epoch", range(1, EPOCHS))
def test_a_crashed_training_goes_on_with_all_that_it_took(tmp_path: Path, epoch: int, restore: bool) -> None:
    first, second = callback(tmp_path), callback(tmp_path)
    with pytest.raises(ZeroDivisionError):
        trainer_with(tmp_path, first, Crash(epoch), **OPTIONS).train()
    again = trainer_with(tmp_path, second, restore_callback_states_from_checkpoint=restore, **OPTIONS)
    again.train(resume_from_checkpoint=True)
    before, after = second.summary["attempts"]
    assert (before["run"], before["status"], after["run"]) == ("run", "failed", "run-2")
    assert before["total_j"] == pytest.approx(first.summary["total_j"])
    assert second.summary["total_j"] == pytest.approx(before["total_j"] + after["total_j"])
    assert 0 < before["lost_j"] < before["total_j"]
    assert second.summary["phases"]["train"]["steps"] == EPOCHS * BATCHES + 3
    (*_, last) = (entry for entry in again.state.log_history if "energy/total_kwh" in entry)
    assert last["energy/total_kwh"] * 3.6e6 > before["total_j"]


def test_a_training_that_is_begun_again_counts_from_nothing(tmp_path: Path) -> None:
    ours = callback(tmp_path)
    trainer = trainer_with(tmp_path, ours, **OPTIONS)
    trainer.train()
    trainer.train()
    assert len(ours.summary["attempts"]) == 1


def test_green_stopping_may_join_a_training_that_was_begun_without_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        trainer_with(tmp_path, Crash(2), **OPTIONS).train()
    site = Site(zone="FR")
    green = GreenEarlyStoppingCallback("loss", devices="ram", site=site, min_gain_per_kwh=None)
    trainer_with(tmp_path, green, **OPTIONS).train(resume_from_checkpoint=True)
    (*_, last) = sorted((tmp_path / "trainer").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    stored = json.loads((last / "trainer_state.json").read_text())["stateful_callbacks"]
    assert stored["GreenEarlyStoppingCallback"]["args"]["monitor"] == "loss"
