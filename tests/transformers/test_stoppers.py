"""Stoppers of one metric, other evaluations, and trainings that are cut short or resumed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer, TrainerCallback

from tests.transformers.composite import Composite
from tests.transformers.test_stopping import StopAt, evaluations, rising, saturating, trainer_of
from tests.transformers.training import sentences, trainer_with
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt.site import Site
from trainwatt.tracking import session_registry
from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback

RESTORED: dict[str, Any] = {"save_strategy": "epoch", "restore_callback_states_from_checkpoint": True}


def observer(**options: Any) -> GreenEarlyStoppingCallback:
    """Judges, and stops nothing by the metric."""
    return GreenEarlyStoppingCallback("metric", "max", devices="ram", **{"min_gain_per_kwh": None, **options})


def price_and_budget(limit: float = 1000.0) -> list[GreenEarlyStoppingCallback]:
    return [observer(max_cost=limit, tariff=0.3), observer(max_kwh=limit)]


def judged(stopper: GreenEarlyStoppingCallback) -> int:
    return int(stopper.state()["attributes"]["history"]["evaluations"])


def resumed(folder: Path, callbacks: list[TrainerCallback], **options: Any) -> Trainer:
    """A training of 12 evaluations that goes on after the sixth."""
    trainer = trainer_of(folder, saturating(12)[6:], *callbacks, **RESTORED | options)
    trainer.args.num_train_epochs = 12
    trainer.train(resume_from_checkpoint=str(folder / "trainer" / "checkpoint-6"))
    return trainer


@pytest.mark.parametrize("monitored", [True, False])
@pytest.mark.parametrize("reordered", [True, False])
def test_two_stoppers_of_one_metric_go_on_each_with_its_own_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reordered: bool, monitored: bool
) -> None:
    trainer_of(tmp_path, saturating(12), *price_and_budget(), StopAt(6), **RESTORED).train()
    again = price_and_budget()[:: -1 if reordered else 1]
    monitors = [FootprintCallback(output_dir=tmp_path / "fp", devices="ram", verbose=False)] if monitored else []
    with caplog.at_level(logging.WARNING, "transformers"):
        trainer = resumed(tmp_path, [*again, *monitors])
    assert [each for each in trainer.callback_handler.callbacks if each in again] == again
    assert [judged(each) for each in again] == [12, 12]
    assert "Ignoring" not in caplog.text
    stored = json.loads((tmp_path / "trainer" / "checkpoint-12" / "trainer_state.json").read_text())
    states = stored["stateful_callbacks"]["GreenEarlyStoppingCallback"]
    assert ["max_cost" in each["args"] for each in states] == ([False, True] if reordered else [True, False])
    assert [each["attributes"]["history"]["evaluations"] for each in states] == [12, 12]


@pytest.mark.parametrize(("limit", "reason"), [("max_kwh", "budget_kwh"), ("max_cost", "budget_cost")])
def test_either_of_two_stoppers_stops(tmp_path: Path, limit: str, reason: str) -> None:
    pair = [observer(max_cost=1e-12 if limit == "max_cost" else 1e6, tariff=0.3), observer()]
    pair[1] = observer(max_kwh=1e-12 if limit == "max_kwh" else 1e6)
    trainer = trainer_of(tmp_path, rising(20), *pair)
    trainer.train()
    assert evaluations(trainer) < 20
    assert [each.stopping_reason and each.stopping_reason.value for each in pair] == (
        [reason, None] if limit == "max_cost" else [None, reason]
    )


def test_stoppers_that_a_composite_callback_holds_go_on_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer_of(tmp_path, saturating(12), Composite(*price_and_budget()), StopAt(6), **RESTORED).train()
    again = price_and_budget()
    with caplog.at_level(logging.WARNING, "transformers"):
        resumed(tmp_path, [Composite(*again)])
    assert [judged(each) for each in again] == [12, 12]
    assert "Ignoring" not in caplog.text


@pytest.mark.parametrize("added", [True, False])
def test_the_arguments_of_the_present_count_not_those_of_the_checkpoint(tmp_path: Path, added: bool) -> None:
    before = FootprintCallback(output_dir=tmp_path / "fp", devices="ram", verbose=False, site=Site(zone="PL"))
    trainer_of(tmp_path, saturating(12), observer(site=Site(zone="PL")), before, StopAt(6), **RESTORED).train()
    stopper = observer(site=Site(zone="FR"), patience=7)
    monitor = FootprintCallback(output_dir=tmp_path / "fp", devices="ram", verbose=False, site=Site(zone="FR"))
    trainer = trainer_of(tmp_path, saturating(12)[6:], *([] if added else [stopper, monitor]), **RESTORED)
    for each in (stopper, monitor) if added else ():
        trainer.add_callback(each)
    trainer.args.num_train_epochs = 12
    trainer.train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-6"))
    assert {stopper, monitor} <= set(trainer.callback_handler.callbacks)
    assert stopper.state()["args"]["patience"] == 7
    assert judged(stopper) == 12
    assert monitor.summary["site"]["zone"] == "FR"
    assert len(monitor.summary["attempts"]) == 2


def test_the_state_is_that_of_any_stateful_callback(tmp_path: Path) -> None:
    stopper = observer(patience=3)
    monitor = FootprintCallback(output_dir=tmp_path / "fp", devices="ram", verbose=False)
    trainer_of(tmp_path, saturating(4), stopper, monitor).train()
    states = json.loads(json.dumps([stopper.state(), monitor.state()]))
    again = GreenEarlyStoppingCallback.from_state(states[0])
    assert (again.monitor, again.state()["args"]) == ("metric", states[0]["args"])
    assert again.history["evaluations"] == 4
    following = FootprintCallback.from_state(states[1])
    trainer_of(tmp_path, saturating(2), following).train()
    assert following.summary["total_j"] > following.summary["attempts"][0]["total_j"] > 0


def test_callbacks_that_join_a_training_do_not_stop_it_from_saving(tmp_path: Path) -> None:
    joining = [FootprintCallback(output_dir=tmp_path / "fp", devices="ram", verbose=False), observer()]

    class Adds(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.epoch == 1:
                list(map(trainer.add_callback, joining))

    trainer = trainer_of(tmp_path, saturating(3), Adds(), save_strategy="epoch")
    trainer.train()
    assert len(list((tmp_path / "trainer").glob("checkpoint-*"))) == 3


def test_an_evaluation_after_the_training_is_not_judged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monitor = FootprintCallback(output_dir=tmp_path / "fp", run_name="run", devices="ram", verbose=False)
    stopper = observer(max_kwh=1e-12)
    trainer = trainer_of(tmp_path, rising(9), stopper, monitor)
    trainer.train()
    told, reason, count = caplog.text, stopper.stopping_reason_message, judged(stopper)
    events = list(read_events(tmp_path / "fp" / "run"))
    trainer.state.log_history.clear()
    trainer.compute_metrics = None
    trainer.evaluate()
    trainer.evaluate(metric_key_prefix="test")
    names = {name for entry in trainer.state.log_history for name in entry}
    assert not [name for name in names if name.startswith(("stopping/", "energy/", "footprint/"))]
    assert {"eval_energy_kwh", "test_energy_kwh"} <= names
    assert (caplog.text, stopper.stopping_reason_message, judged(stopper)) == (told, reason, count)
    assert list(read_events(tmp_path / "fp" / "run")) == events


class Tests(TrainerCallback):
    """Evaluates something else before each epoch; at its end this would take the place of the Trainer's evaluation."""

    trainer: Trainer

    def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
        self.trainer.evaluate(sentences(1), metric_key_prefix="test")  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["several data sets", "test prefix", "every second epoch"])
def test_a_metric_that_is_not_in_every_evaluation_is_judged_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    stopper, tests, made = observer(), Tests(), iter(range(1, 100))
    data = {"one": sentences(1), "two": sentences(1)}
    if form == "several data sets":
        stopper = GreenEarlyStoppingCallback("two_metric", "max", devices="ram", min_gain_per_kwh=None)
    tests.trainer = trainer = trainer_with(
        tmp_path,
        stopper,
        *([tests] if form == "test prefix" else []),
        eval_dataset=data if form == "several data sets" else None,
        num_train_epochs=6,
        eval_strategy="epoch",
    )

    def metrics(prediction: Any) -> dict[str, float]:
        number = next(made)
        return {} if form == "every second epoch" and number % 2 else {"metric": number / 100}

    trainer.compute_metrics = metrics
    trainer.train()
    assert judged(stopper) == (3 if form == "every second epoch" else 6)
    assert "not logged" not in caplog.text
    assert "disabled" not in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("added", [True, False])
def test_a_training_that_is_cut_short_leaves_nothing_running(
    tmp_path: Path, error: type[BaseException], added: bool
) -> None:
    class Raises(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            raise error

    kept = []
    for _ in range(5):
        stopper = observer(zone="PL")
        trainer = trainer_of(tmp_path, rising(3), *([] if added else [stopper]), Raises())
        if added:
            trainer.add_callback(stopper)
        with pytest.raises(error):
            trainer.train()
        kept.append((trainer, stopper))
    assert not list(session_registry._sessions)
    # it would be refused beside a run in Poland
    monitor = FootprintCallback(output_dir=None, devices="ram", verbose=False, zone="FR")
    trainer_of(tmp_path, rising(3), observer(), monitor).train()
    assert monitor.summary["status"] == "finished"


def test_the_stop_is_told_once_when_it_happens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class AtLeast(TrainerCallback):
        """Lets no training end before its 20th step."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop &= state.global_step >= 20

        on_evaluate = on_step_end

    stopper = observer(min_gain_per_kwh="auto")
    trainer = trainer_of(tmp_path, saturating(60), stopper, AtLeast())
    trainer.train()
    told = [each.message for each in caplog.records if "stopped at" in each.message]
    assert evaluations(trainer) == 20
    assert told == [f"trainwatt: {stopper.stopping_reason_message}"]
    assert told[0].startswith("trainwatt: stopped at step 20:")


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ({"early_stopping_patience": 3}, "patience="),
        ({"early_stopping_threshold": 0.01}, "min_gain_per_percent="),
        ({"monitor": 3}, "patience="),
    ],
)
def test_arguments_of_transformers_own_early_stopping_are_told_by_ours(options: dict[str, Any], instead: str) -> None:
    with pytest.raises(ArgumentError, match=instead):
        GreenEarlyStoppingCallback(**options)
