"""Green early stopping as a callback drives it: what is said, when it holds, and which monitors it belongs to."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.callbacks.stop_controller import StopController
from trainwatt.distributed.process_group import ALONE
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt.stopping.criteria import Decision
from trainwatt.stopping.reason import StopReason

STOP = Decision(stop=True, sentence="stopped at epoch 3: enough", reason=StopReason.TREND)


class Monitor:
    """A callback that measures, as far as a stopper sees it."""

    def __init__(self, **options: Any) -> None:
        self._run = Lifecycle(print, **{"devices": ["ram"], "verbose": False, "output_dir": None, **options})


@pytest.fixture
def controller() -> Iterator[StopController]:
    """A stopper in a training."""
    made = StopController("max", verbose=True, devices=["ram"])
    made.start(None, ALONE)
    yield made
    made.stop()


def judged(controller: StopController, value: object, number: int = 1, **options: Any) -> Decision:
    return controller.evaluate(
        value, done=number / 100, when=f"epoch {number}", remaining_lr=None, metric="m", **options
    )


def test_what_does_not_hold_yet_is_neither_said_nor_kept(
    controller: StopController, caplog: pytest.LogCaptureFixture
) -> None:
    assert [controller.conclude(STOP, in_force=False) for _ in range(35)] == [False] * 35
    assert (caplog.text, controller.reason, controller.message) == ("", None, None)
    assert [controller.conclude(STOP) for _ in range(3)] == [True] * 3
    assert caplog.text.count("stopped at epoch 3: enough") == 1
    assert controller.reason is StopReason.TREND


def test_the_first_conclusion_stays(controller: StopController) -> None:
    controller.conclude(STOP)
    controller.conclude(Decision(stop=True, sentence="later", reason=StopReason.BUDGET_KWH))
    assert (controller.message, controller.reason) == (STOP.sentence, StopReason.TREND)


def test_a_spent_budget_stops_at_each_check_until_it_is_in_force() -> None:
    controller = StopController("max", verbose=False, devices=["ram"], max_kwh=1e-15)
    controller.start(None, ALONE)
    decisions = [judged(controller, 0.5, number) for number in range(1, 4)]
    controller.stop()
    assert [(each.stop, each.reason) for each in decisions] == [(True, StopReason.BUDGET_KWH)] * 3


@pytest.mark.parametrize("value", ["good", object(), [1.0, 2.0], {}], ids=["text", "object", "list", "dict"])
def test_what_is_no_number_is_no_evaluation(
    controller: StopController, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert judged(controller, value) == Decision()
    assert controller.state_dict()["evaluations"] == 0
    assert caplog.text.count("the conversion of 'm' to a number failed") == 1


def test_outside_a_training_nothing_is_judged(controller: StopController) -> None:
    judged(controller, 0.5)
    controller.stop()
    before = controller.state_dict()
    assert judged(controller, 0.6) == Decision()
    assert controller.check_budget("step 1") is None
    assert controller.missing("m", ["n"]) == 0
    assert controller.state_dict() == before


def test_a_warm_up_records_and_never_stops() -> None:
    controller = StopController("max", verbose=False, devices=["ram"], stopping_threshold=0.1)
    controller.start(None, ALONE)
    assert [judged(controller, 0.5, may_stop=may).stop for may in (False, False, True)] == [False, False, True]
    controller.stop()


def test_a_metric_that_comes_in_the_second_epoch_is_no_warning(
    controller: StopController, caplog: pytest.LogCaptureFixture
) -> None:
    assert controller.missing("m", ["n"]) == 1
    judged(controller, 0.5)
    assert [controller.missing("m", ["n"]) for _ in range(5)] == [0] * 5
    assert caplog.text == ""


def test_a_metric_that_never_comes_is_one_warning(controller: StopController, caplog: pytest.LogCaptureFixture) -> None:
    assert [controller.missing("m", ["n", "o"]) for _ in range(4)] == [1, 2, 3, 4]
    assert caplog.text.count("m is not logged, so there is nothing to judge; metrics that are: n, o") == 1


def test_a_copy_has_the_history_and_measures_nothing(controller: StopController) -> None:
    for number in range(1, 7):
        judged(controller, number / 10, number)
    for made in (pickle.loads(pickle.dumps(controller)), copy.deepcopy(controller)):
        assert not made.running
        assert made.state_dict()["rule"] == controller.state_dict()["rule"]
        assert 0 < made.state_dict()["spent_kwh"] <= controller.state_dict()["spent_kwh"]
        made.start(None, ALONE)
        assert judged(made, 0.5).stop is False
        assert made.state_dict()["evaluations"] == 1
        made.stop()
    judged(controller, 0.7, 7)
    assert controller.state_dict()["evaluations"] == 7


def test_a_state_that_is_loaded_before_the_training_is_that_of_the_next_one(controller: StopController) -> None:
    for number in range(1, 4):
        judged(controller, number / 10, number)
    state = json.loads(json.dumps(controller.state_dict()))
    other = StopController("max", verbose=False, devices=["ram"])
    other.load_state_dict(state)
    for evaluations in (4, 1):
        other.start(None, ALONE)
        judged(other, 0.4, 4)
        assert other.state_dict()["evaluations"] == evaluations
        other.stop()


@pytest.mark.parametrize(
    "damage",
    [
        {"rule": {"scores": [0.1], "energies_kwh": [], "failures": 0, "finite_kwh": 0.0}},
        {"rule": {"scores": [0.1, 0.2], "energies_kwh": [2.0, 1.0], "failures": 0, "finite_kwh": 0.0}},
        {"rule": {"scores": [math.inf], "energies_kwh": [1.0], "failures": 0, "finite_kwh": 0.0}},
        {"rule": []},
        {"first": "x"},
        {"best": math.nan},
        {"evaluations": [1]},
        {"run": 3},
        {"run": {"phases": {"train": 1}}},
    ],
    ids=str,
)
def test_a_damaged_state_costs_what_it_held(controller: StopController, damage: dict[str, Any]) -> None:
    judged(controller, 0.5)
    state = {**controller.state_dict(), **damage}
    other = StopController("max", verbose=False, devices=["ram"])
    other.start(None, ALONE)
    other.load_state_dict(state)
    for number in range(1, 8):
        judged(other, number / 10, number)
    other.stop()


def test_only_the_monitors_of_its_own_training_give_place_and_get_verdicts(tmp_path: Path) -> None:
    own, foreign = Monitor(zone="FR", output_dir=tmp_path, run_name="own"), Monitor(zone="PL", output_dir=tmp_path)
    controller = StopController("max", verbose=False, devices=["ram"])
    foreign._run.open()
    own._run.open()
    for callbacks, place in (([own], "France"), ([], None)):
        controller.start(None, ALONE, callbacks=callbacks)
        judged(controller, 0.5)
        report = controller._stopper._report()
        assert report is not None
        assert report.site.name != "Poland"
        assert place in (None, report.site.name)
        controller.stop()
    for each in (own, foreign):
        each._run.close("finished")
    events = {run.name: [event["event"] for event in read_events(run)].count("verdict") for run in tmp_path.iterdir()}
    assert events.pop("own") == 1
    assert set(events.values()) == {0}


def test_another_place_than_that_of_a_foreign_run_is_no_error() -> None:
    foreign = Monitor(zone="PL")
    foreign._run.open()
    controller = StopController("max", verbose=False, devices=["ram"], zone="FR")
    controller.start(None, ALONE, callbacks=[])
    controller.stop()
    with pytest.raises(ArgumentError, match="zone='FR'"):
        controller.start(None, ALONE, callbacks=[foreign])
    foreign._run.close("finished")


def test_stoppers_of_one_metric_have_keys_of_their_own() -> None:
    keys = {
        StopController("max", verbose=False, **options).key
        for options in ({}, {"max_kwh": 0.5}, {"max_co2e_kg": 0.5}, {"max_kwh": 0.5, "patience": 2})
    }
    assert keys == {"", "max_kwh=0.5", "max_co2e_kg=0.5", "max_kwh=0.5,patience=2"}
