"""Hooks of callbacks: what fails in one costs this hook and one warning, and copies are idle."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

from trainwatt.callbacks.hooks import Hooks
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.errors import ArgumentError
from trainwatt.projection.plan import Plan


class Framework:
    """A framework's own base."""

    def __init__(self) -> None:
        self.trainer: Any = None


class Monitor(Hooks, Framework):
    __module__ = "trainwatt_example"

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def _idle(self) -> dict[str, Any]:
        return {**super()._idle(), "trainer": None}

    def setup(self, trainer: Any) -> str:
        self.trainer = trainer
        return "set up"

    def on_epoch_end(self, *, error: BaseException | None = None) -> None:
        """Raise an error."""
        self.asked += 1
        if error is not None:
            raise error

    def on_batch_end(self) -> None:
        raise ZeroDivisionError


class Users(Monitor):
    __module__ = "a_program"

    def on_epoch_end(self, *, error: BaseException | None = None) -> None:
        super().on_epoch_end(error=error)
        raise RuntimeError("the user's own")


Monitor.__qualname__, Users.__qualname__ = "Monitor", "Users"


def test_an_error_in_a_hook_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor()
    for _ in range(3):
        monitor.on_epoch_end(error=ZeroDivisionError("ours"))
    assert monitor.asked == 3
    assert [record.getMessage() for record in caplog.records] == [
        "trainwatt: Monitor.on_epoch_end failed (ZeroDivisionError: ours); training goes on"
    ]
    assert monitor.setup("a trainer") == "set up"
    assert Monitor.on_epoch_end.__doc__ == "Raise an error."


def test_bad_arguments_and_interrupts_pass() -> None:
    monitor = Monitor()
    for error in (ArgumentError("zone", "X", "a zone"), KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)):
            monitor.on_epoch_end(error=error)


def test_the_users_own_errors_in_a_subclass_pass() -> None:
    with pytest.raises(RuntimeError, match="the user's own"):
        Users().on_epoch_end(error=ZeroDivisionError())


def test_hooks_of_every_batch_are_not_wrapped() -> None:
    with pytest.raises(ZeroDivisionError):
        Monitor().on_batch_end()


def test_a_copy_is_without_the_trainer() -> None:
    monitor = Monitor()
    monitor.setup(lambda: "a trainer that cannot be pickled")
    assert copy.deepcopy(monitor).trainer is None
    assert monitor.__reduce_ex__(2)[2] == {"trainer": None, "asked": 0}
    assert monitor.trainer() == "a trainer that cannot be pickled"


def test_metrics_keep_their_names() -> None:
    run = Lifecycle(print, zone="FR", output_dir=None, devices=("ram",), verbose=False)
    run.open()
    whole = {"energy/total_kwh": 1.0, "footprint/co2e_kg": 0.1, "energy/power_w": 200.0, "projection/total_kwh": 9.0}
    assert run.steady(whole) == whole
    later = run.steady({"energy/power_w": 210.0})
    assert later.keys() == whole.keys()
    assert (later["energy/total_kwh"], later["footprint/co2e_kg"], later["energy/power_w"]) == (1.0, 0.1, 210.0)
    assert math.isnan(later["projection/total_kwh"])
    assert run.steady({"energy/total_kwh": 2.0})["energy/total_kwh"] == 2.0
    run.open()
    assert run.steady({"energy/total_kwh": 3.0}) == {"energy/total_kwh": 3.0}
    run.close("finished")


def test_a_plan_that_cannot_be_made_costs_the_projection(caplog: pytest.LogCaptureFixture) -> None:
    def plan() -> Plan:
        raise AttributeError("no such attribute")

    run = Lifecycle(print, zone="FR", output_dir=None, devices=("ram",), verbose=False)
    run.open()
    for epoch in range(2):
        run.plan_once(plan)
        run.begin_epoch(epoch)
        run.end_steps()
        run.end_epoch()
    run.close("finished")
    assert run.summary["status"] == "finished"
    assert run.summary["projection"] is None
    assert [record.getMessage() for record in caplog.records] == [
        "trainwatt: the plan of the training failed (AttributeError: no such attribute); the run is not projected"
    ]


def test_trackers_that_cannot_be_found_or_fail_cost_themselves(caplog: pytest.LogCaptureFixture) -> None:
    def find() -> list[Any]:
        raise ConnectionError("no server")

    run = Lifecycle(print, zone="FR", output_dir=None, devices=("ram",), verbose=False)
    run.open(experiment_trackers=find)
    run.close("finished")
    assert run.summary["status"] == "finished"
    assert len([each for each in caplog.records if "no server" in each.getMessage()]) == 1


def test_a_lifecycle_can_be_pickled_while_it_finds_trackers() -> None:
    run = Lifecycle(print, zone="FR", output_dir=None, devices=("ram",), verbose=False)
    run.open(experiment_trackers=lambda: list(map(id, [run])) and [])
    twin = pickle.loads(pickle.dumps(run))
    assert not twin.running
    run.close("finished")
