from __future__ import annotations

import gc
import json
import logging
import math
import pickle
import re
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import GradientState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import CodeCarbonCallback
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback, TrainerControl, TrainerState

from tests.transformers.training import BATCH, BATCHES, TOKENS, Slow, model, sentences, trainer_with
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events, read_summary
from trainwatt_transformers import FootprintCallback
from trainwatt_transformers.trainer_state import devices_of

EPOCH_METRICS = {
    "energy/total_kwh",
    "energy/epoch_kwh",
    "energy/train_kwh",
    "energy/power_w",
    "energy/step_j",
    "energy/measured_share",
    "footprint/co2e_kg",
    "footprint/water_l",
}
STEP_METRICS = {"energy/total_kwh", "energy/power_w", "energy/step_j"}
EVERY_EPOCH = {"eval_strategy": "epoch", "save_strategy": "epoch"}


@pytest.fixture
def callback(tmp_path: Path) -> FootprintCallback:
    return FootprintCallback(output_dir=tmp_path / "footprint", zone="FR", run_name="run", verbose=False)


def entries(callback: FootprintCallback) -> dict[str, int]:
    return {phase: span["entries"] for phase, span in callback.summary["phases"].items() if phase != "other"}


def steps(callback: FootprintCallback) -> int:
    return int(callback.summary["phases"]["train"]["steps"])


def assert_adds_up(summary: dict[str, Any]) -> None:
    by_phase = sum(sum(span["joules"].values()) for span in summary["phases"].values())
    by_device = sum(device["joules"] for device in summary["devices"])
    assert by_phase == pytest.approx(summary["total_j"])
    assert by_device == pytest.approx(summary["total_j"])
    assert sum(span["seconds"] for span in summary["phases"].values()) == pytest.approx(summary["seconds"])
    assert summary["total_j"] > 0


def history_with(trainer: Trainer, key: str) -> list[dict[str, float]]:
    return [entry for entry in trainer.state.log_history if key in entry]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """All that TensorBoard's event files hold, by tag: steps and values."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return found


# what is measured


def test_train_is_measured_phase_by_phase(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer_with(tmp_path, callback, **EVERY_EPOCH).train()
    assert entries(callback) == {"setup": 1, "train": 2, "validate": 2, "checkpoint": 2}
    assert steps(callback) == 2 * BATCHES
    assert callback.summary["status"] == "finished"
    assert callback.summary["epochs"] == 2
    assert all(span["seconds"] > 0 for span in callback.summary["phases"].values())
    assert_adds_up(callback.summary)


def test_an_epoch_holds_its_own_evaluation_and_checkpoint(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer_with(tmp_path, callback, **EVERY_EPOCH).train()
    folder = tmp_path / "footprint" / "run"
    assert read_summary(folder) == callback.summary
    events = list(read_events(folder))
    assert [events[0]["event"], events[-1]["event"]] == ["start", "end"]
    spans = [event for event in events if event["event"] == "span"]
    for epoch in (0, 1):
        found = {event["phase"]: event["entries"] for event in spans if event["epoch"] == epoch}
        assert (found["train"], found["validate"], found["checkpoint"]) == (1, 1, 1)


def test_an_evaluation_is_measured_from_its_call_to_its_return(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback, eval_strategy="steps", eval_steps=4)
    trainer.train()
    evaluations_s = sum(entry["eval_runtime"] for entry in history_with(trainer, "eval_runtime"))
    assert callback.summary["phases"]["validate"]["seconds"] >= evaluations_s


@pytest.mark.parametrize(
    ("options", "expected_steps", "evaluations"),
    [
        ({"gradient_accumulation_steps": 2}, 6, 0),
        ({"eval_strategy": "steps", "eval_steps": 2}, 12, 6),
        ({"eval_strategy": "epoch"}, 12, 2),
        ({"eval_on_start": True}, 12, 1),
        ({"max_steps": 8, "eval_strategy": "epoch"}, 8, 2),
        ({"num_train_epochs": 1.5}, 9, 0),
        ({"num_train_epochs": 1, "per_device_train_batch_size": BATCH * BATCHES}, 1, 0),
        ({"eval_strategy": "epoch", "eval_dataset": {"one": sentences(1), "two": sentences(1)}}, 12, 2),
        ({"logging_strategy": "no", "eval_strategy": "epoch"}, 12, 2),
        ({"logging_strategy": "epoch", "eval_strategy": "epoch"}, 12, 2),
        ({"logging_steps": 1, "logging_first_step": True}, 12, 0),
    ],
)
def test_the_trainers_options_are_respected(
    callback: FootprintCallback, tmp_path: Path, options: dict[str, Any], expected_steps: int, evaluations: int
) -> None:
    trainer_with(tmp_path, callback, **options).train()
    assert steps(callback) == expected_steps
    assert entries(callback).get("validate", 0) == evaluations
    assert_adds_up(callback.summary)


def test_loading_the_best_model_and_stopping_early_are_respected(callback: FootprintCallback, tmp_path: Path) -> None:
    patient = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=1e9)
    options = EVERY_EPOCH | {"load_best_model_at_end": True, "metric_for_best_model": "loss", "num_train_epochs": 9}
    trainer = trainer_with(tmp_path, callback, patient, **options)
    trainer.train()
    assert trainer.state.best_model_checkpoint is not None
    assert callback.summary["epochs"] == entries(callback)["train"] == 2
    assert callback.summary["status"] == "finished"


@pytest.mark.parametrize(
    ("call", "phase"),
    [
        (lambda trainer: trainer.evaluate(), "validate"),
        (lambda trainer: trainer.evaluate(sentences(1), metric_key_prefix="test"), "test"),
        (lambda trainer: trainer.evaluate({"one": sentences(1), "two": sentences(1)}), "validate"),
        (lambda trainer: trainer.predict(sentences(1)), "predict"),
    ],
)
def test_an_evaluation_by_itself_is_a_run_of_its_own(
    callback: FootprintCallback, tmp_path: Path, call: Any, phase: str
) -> None:
    call(trainer_with(tmp_path, callback))
    assert callback.summary["run"] == f"run-{phase}"
    assert entries(callback) == {phase: 1}
    assert_adds_up(callback.summary)


def test_an_evaluation_that_another_callback_asks_for_belongs_to_the_training(
    callback: FootprintCallback, tmp_path: Path
) -> None:
    class Curious(TrainerCallback):
        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            trainer.predict(sentences(1))

    trainer = trainer_with(tmp_path, callback, Curious())
    trainer.train()
    assert entries(callback) == {"setup": 1, "train": 2, "predict": 2}
    assert [path.name for path in (tmp_path / "footprint").iterdir()] == ["run"]


def test_parts_of_ones_own_are_counted_in_their_phase(callback: FootprintCallback, tmp_path: Path) -> None:
    class Augments(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            with callback.part("augmentation"):
                time.sleep(0.01)

    trainer_with(tmp_path, callback, Augments()).train()
    part = callback.summary["phases"]["train"]["labels"]["augmentation"]
    assert part["entries"] == 2 * BATCHES
    assert 0.01 * part["entries"] <= part["seconds"] < callback.summary["phases"]["train"]["seconds"]
    assert_adds_up(callback.summary)


# what is logged


@pytest.mark.parametrize("form", ["callbacks", "report_to", "attach"])
def test_values_reach_tensorboard_and_the_history(
    callback: FootprintCallback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)  # report_to's own callback writes to the current folder
    reporters = ["tensorboard", "trainwatt"] if form == "report_to" else ["tensorboard"]
    callbacks = [callback] if form == "callbacks" else []
    trainer = trainer_with(tmp_path, *callbacks, report_to=reporters, eval_strategy="epoch")
    if form == "attach":
        callback.attach(trainer)
    trainer.train()
    found = scalars(tmp_path)
    for name in EPOCH_METRICS | {"energy/validate_kwh"}:
        logged = [(entry["step"], entry[name]) for entry in history_with(trainer, name)]
        assert found[f"train/{name}"] == [(step, pytest.approx(value)) for step, value in logged]
    assert [step for step, _ in found["train/energy/epoch_kwh"]] == [BATCHES, 2 * BATCHES]
    assert [step for step, _ in found["train/energy/total_kwh"]] == [3, 6, 6, 9, 12, 12]


def test_values_within_an_epoch_come_with_the_trainers_own_loss(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback, Slow(0.06), logging_steps=4)
    trainer.train()
    losses = history_with(trainer, "loss")
    assert [entry["step"] for entry in losses] == [4, 8, 12]
    assert all(entry.keys() >= STEP_METRICS for entry in losses)
    totals = [entry["energy/total_kwh"] for entry in losses]
    assert [*totals, callback.summary["total_kwh"]] == sorted([*totals, callback.summary["total_kwh"]])


def test_what_train_returns_holds_the_energy(callback: FootprintCallback, tmp_path: Path) -> None:
    metrics = trainer_with(tmp_path, callback).train().metrics
    assert metrics.keys() >= EPOCH_METRICS
    assert metrics["energy/total_kwh"] == pytest.approx(callback.summary["total_kwh"], rel=0.2)


def test_the_metrics_of_an_evaluation_are_left_alone(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback, eval_strategy="epoch")
    trainer.train()
    returned = [trainer.evaluate(), trainer.predict(sentences(1)).metrics, *history_with(trainer, "eval_loss")]
    assert not [key for metrics in returned for key in metrics if "energy" in key or "footprint" in key]


def test_an_evaluation_by_itself_is_logged_under_its_prefix(
    callback: FootprintCallback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where transformers has TensorBoard write what is logged before a training
    trainer = trainer_with(tmp_path, callback, report_to="tensorboard")
    trainer.evaluate()
    (step, logged_kwh) = scalars(tmp_path)["eval/energy_kwh"][0]
    assert (step, logged_kwh) == (0, pytest.approx(callback.summary["total_kwh"]))
    assert trainer.state.log_history[-1]["eval_energy_kwh"] == callback.summary["total_kwh"]


@pytest.mark.parametrize("counted", [True, False])
def test_energy_per_token_is_known_where_the_trainer_counts_tokens(
    callback: FootprintCallback, tmp_path: Path, counted: bool
) -> None:
    trainer = trainer_with(tmp_path, callback, Slow(0.04), logging_steps=6, include_num_input_tokens_seen=counted)
    trainer.train()
    entries = history_with(trainer, "energy/step_j")
    assert len(entries) == 4
    for entry in entries:
        if counted:
            assert entry["energy/token_j"] == pytest.approx(entry["energy/step_j"] / (BATCH * TOKENS))
        else:
            assert "energy/token_j" not in entry


def test_nothing_is_logged_for_epochs_where_the_trainer_is_to_log_nothing(
    callback: FootprintCallback, tmp_path: Path
) -> None:
    trainer = trainer_with(tmp_path, callback, logging_strategy="no")
    trainer.train()
    assert len(trainer.state.log_history) == 1
    assert trainer.state.log_history[0].keys() >= EPOCH_METRICS


@pytest.mark.parametrize("shown", [True, False])
def test_the_progress_bar_shows_energy_if_wanted(
    tmp_path: Path, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = FootprintCallback(output_dir=None, verbose=False, prog_bar=shown)
    trainer_with(tmp_path, callback, disable_tqdm=False).train()
    assert bool(re.search(r"\b(J|Wh)=[0-9.]+]", capsys.readouterr().err)) is shown


@pytest.mark.parametrize("verbose", [True, False])
def test_a_summary_is_printed_if_wanted(tmp_path: Path, verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    trainer_with(tmp_path, FootprintCallback(output_dir=None, verbose=verbose)).train()
    assert ("all of it estimated" in capsys.readouterr().out) is verbose


# what goes wrong


def test_an_exception_reaches_the_user_and_the_totals_are_written(callback: FootprintCallback, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="in step 7"):
        trainer_with(tmp_path, callback, error=ZeroDivisionError("in step 7")).train()
    assert callback.summary["status"] == "failed"
    assert steps(callback) == 6
    assert read_summary(tmp_path / "footprint" / "run") == callback.summary
    assert_adds_up(callback.summary)


def test_an_interrupt_ends_the_run_with_its_totals(callback: FootprintCallback, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer_with(tmp_path, callback, error=KeyboardInterrupt()).train()
    assert callback.summary["status"] == "interrupted"
    assert_adds_up(callback.summary)


def test_an_evaluation_by_itself_that_fails_is_recorded_as_failed(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback, eval_dataset=[{"nothing": torch.zeros(1)}] * 4)
    with pytest.raises(ValueError, match="empty"):
        trainer.evaluate()
    assert callback.summary["status"] == "failed"
    trainer.evaluate(sentences(1))
    assert callback.summary["status"] == "finished"


def test_after_a_failure_the_next_training_starts_clean(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback, error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    trainer.train()
    assert callback.summary["run"] == "run-2"
    assert callback.summary["status"] == "finished"
    assert steps(callback) == 2 * BATCHES


def test_a_training_begun_anew_with_a_smaller_batch_is_one_run(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback, error=RuntimeError("CUDA out of memory."), auto_find_batch_size=True)
    trainer.train()
    assert callback.summary["run"] == "run"
    assert callback.summary["status"] == "finished"
    assert steps(callback) > 2 * BATCHES + 6
    assert_adds_up(callback.summary)
    spans = [event for event in read_events(tmp_path / "footprint" / "run") if event["event"] == "span"]
    trained = [(event["loop"], event["epoch"]) for event in spans if event["phase"] == "train"]
    assert trained == [(0, 0), (1, 0), (1, 1)]
    assert callback.summary["projection"]["remaining_s"] == 0


@pytest.mark.parametrize("unfit", [{"interval": 0}, {"zone": "XX"}, {"devices": "tpu"}])
def test_a_wrong_argument_is_told_before_training(unfit: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(unfit))):
        FootprintCallback(**unfit)


# the Trainer, and its other callbacks


def test_training_itself_is_the_same_with_and_without(callback: FootprintCallback, tmp_path: Path) -> None:
    outcomes = []
    for callbacks in ([], [callback]):
        trainer = trainer_with(tmp_path, *callbacks, logging_steps=1, **EVERY_EPOCH)
        trainer.train()
        losses = [entry["loss"] for entry in history_with(trainer, "loss")]
        scores = [entry["eval_loss"] for entry in history_with(trainer, "eval_loss")]
        outcomes.append((losses, scores, [weight.detach().clone() for weight in trainer.model.parameters()]))
    assert len(outcomes[0][0]) == 2 * BATCHES
    assert outcomes[0][:2] == outcomes[1][:2]
    assert all(torch.equal(a, b) for a, b in zip(outcomes[0][2], outcomes[1][2], strict=True))


def test_a_callback_added_later_measures_the_training(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, eval_strategy="epoch")
    trainer.add_callback(callback)
    trainer.train()
    assert entries(callback) == {"setup": 1, "train": 2, "validate": 2}
    assert callback.summary["status"] == "finished"
    assert trainer.state.log_history[-1].keys() >= EPOCH_METRICS
    trainer.train()
    assert entries(callback) == {"setup": 1, "train": 2, "validate": 2}


def test_a_callback_that_is_removed_measures_no_more(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback)
    trainer.remove_callback(FootprintCallback)
    trainer.train()
    assert callback.summary == {}
    assert not history_with(trainer, "energy/total_kwh")


def test_the_users_own_callback_measures_rather_than_that_of_report_to(
    callback: FootprintCallback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = trainer_with(tmp_path, callback, report_to=["trainwatt"])
    trainer.train()
    assert steps(callback) == 2 * BATCHES
    assert [path.name for path in (tmp_path / "footprint").iterdir()] == ["run"]


def test_several_trainers_can_share_a_callback(callback: FootprintCallback, tmp_path: Path) -> None:
    trainers = [trainer_with(tmp_path, callback), trainer_with(tmp_path, callback, num_train_epochs=1)]
    for trainer, expected_steps in zip(trainers, (2 * BATCHES, BATCHES), strict=True):
        trainer.train()
        assert steps(callback) == expected_steps


def test_a_subclass_of_the_trainer_keeps_what_it_does_and_what_it_logs(
    callback: FootprintCallback, tmp_path: Path
) -> None:
    class Counting(Trainer):
        """As TRL's: logs means since it was last called, and evaluates in its own way."""

        evaluations = since = 0

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            self.evaluations += 1
            return super().evaluate(*args, **kwargs)

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            self.since += 1
            return super().training_step(*args, **kwargs)

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            super().log({**logs, "batches": self.since}, *args, **kwargs)
            self.since = 0

    trainer = trainer_with(tmp_path, callback, Slow(0.11), cls=Counting, logging_steps=4, eval_strategy="epoch")
    trainer.train()
    assert isinstance(trainer, Counting)
    assert type(trainer).__name__ == "Counting"
    assert trainer.evaluations == entries(callback)["validate"] == 2
    assert [entry["batches"] for entry in history_with(trainer, "loss")] == [4, 2, 4]
    assert all(entry.keys() >= STEP_METRICS for entry in history_with(trainer, "loss"))


def test_a_trainer_is_freed_as_soon_as_it_is_deleted(callback: FootprintCallback, tmp_path: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        trainer = trainer_with(tmp_path, callback)
        untrained = weakref.ref(trainer)
        del trainer
        assert untrained() is None
        assert trainer_with(tmp_path, callback).train().global_step == 2 * BATCHES
    finally:
        gc.enable()


def test_a_trainer_can_be_pickled_for_a_search_in_other_processes(callback: FootprintCallback, tmp_path: Path) -> None:
    GradientState._reset_state()  # accelerate's, of the process; it refers to the trainings before
    trainer = pickle.loads(pickle.dumps(trainer_with(tmp_path, callback)))
    trainer.train()
    (copied,) = (each for each in trainer.callback_handler.callbacks if isinstance(each, FootprintCallback))
    assert steps(copied) == 2 * BATCHES
    assert callback.summary == {}


def test_a_training_resumed_from_a_checkpoint_is_measured(callback: FootprintCallback, tmp_path: Path) -> None:
    patient = EarlyStoppingCallback(early_stopping_patience=9)
    options: dict[str, Any] = {
        "save_strategy": "steps",
        "save_steps": 8,
        "eval_strategy": "steps",
        "eval_steps": 8,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
        "restore_callback_states_from_checkpoint": True,
    }
    first = trainer_with(tmp_path, callback, patient, **options)
    first.train()
    checkpoint = tmp_path / "trainer" / "checkpoint-8"
    stored = json.loads((checkpoint / "trainer_state.json").read_text())
    assert "EarlyStoppingCallback" in stored["stateful_callbacks"]
    assert any("energy/total_kwh" in entry for entry in stored["log_history"])
    resumed = trainer_with(tmp_path, callback, patient, **options)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert steps(callback) == 2 * BATCHES  # 8 of them before the checkpoint
    spans = [event for event in read_events(tmp_path / "footprint" / "run-2") if event["event"] == "span"]
    assert {event["epoch"] for event in spans if event["phase"] == "train"} == {-1, 1}


def test_codecarbon_beside_it_is_told_once(
    callback: FootprintCallback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Installed(CodeCarbonCallback):
        """Without the package."""

        def __init__(self) -> None:
            self.tracker = self

        def start(self) -> None:
            pass

        stop = start

    trainer = trainer_with(tmp_path, callback, Installed())
    trainer.train()
    trainer.train()
    assert len([record for record in caplog.records if "CodeCarbon measures" in record.message]) == 1
    assert steps(callback) == 2 * BATCHES


def test_another_trainer_of_the_same_callbacks_is_measured_and_told_what_is_missing(
    callback: FootprintCallback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = trainer_with(tmp_path).args
    handler = CallbackHandler([DefaultFlowCallback(), callback], model(), None, None, None)
    state, control = TrainerState(max_steps=3), TrainerControl()
    with caplog.at_level(logging.WARNING, "trainwatt"):
        handler.on_init_end(args, state, control)
        handler.on_train_begin(args, state, control)
        handler.on_epoch_begin(args, state, control)
        for _ in range(3):
            time.sleep(0.1)
            handler.on_step_end(args, state, control)
        handler.on_epoch_end(args, state, control)
        logs = {"train_loss": math.nan}
        handler.on_log(args, state, control, logs)
        handler.on_train_end(args, state, control)
    assert steps(callback) == 3
    assert callback.summary["status"] == "finished"
    assert "energy/epoch_kwh" in logs
    assert len([record for record in caplog.records if record.name == "trainwatt"]) == 1


class OtherMaker(TrainingArguments):
    """Arguments that choose a device of another maker, on which PyTorch for CPUs cannot compute."""

    @property
    def device(self) -> torch.device:
        return torch.device("hpu", 0)


def test_a_device_of_another_maker_that_trains_is_named_and_not_counted(
    callback: FootprintCallback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = trainer_with(tmp_path, callback)
    trainer.args.__class__ = OtherMaker
    with callback.training(trainer):
        time.sleep(0.1)
    (warning,) = [each.message for each in caplog.records if each.name == "trainwatt"]
    assert "HPU" in warning
    assert callback.summary["total_j"] > 0
    assert callback.summary["measured_share"] is None
    assert [each["method"] for each in callback.summary["devices"]][-1] == "not counted"


def test_a_model_on_several_devices_is_on_all_of_them(tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path)
    assert devices_of(trainer) == [torch.device("cpu")]
    trainer.is_model_parallel = True
    trainer.model.transformer.wte.to("meta")
    assert set(devices_of(trainer)) == {torch.device("cpu"), torch.device("meta")}
