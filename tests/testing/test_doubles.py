"""The public test doubles, as somebody else's tests would use them."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from trainwatt import ArgumentError, Sink, Tracker, read_run, testing
from trainwatt import api as trainwatt_api
from trainwatt.errors import SourceError
from trainwatt.records.summary import Summary
from trainwatt.testing import (
    ConstantCounter,
    ConstantGauge,
    Device,
    ScriptedCounter,
    ScriptedGauge,
    VirtualClock,
    VirtualTracker,
    meters,
    virtual_clock,
    virtual_tracker,
)

CPU = Device("cpu:0", "cpu", "Virtual CPU", "measured", "a counter")


def train_j(run: Tracker) -> float:
    return sum(run.summary["phases"]["train"]["joules"].values())


@pytest.mark.parametrize("module", [testing, meters, virtual_clock, virtual_tracker, trainwatt_api])
def test_the_examples_are_right(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.failed == 0


@pytest.mark.parametrize("meter_of", [ConstantCounter, ConstantGauge])
def test_a_loop_takes_the_power_of_its_meter_times_its_time(
    clock: VirtualClock, meter_of: type[ConstantCounter] | type[ConstantGauge]
) -> None:
    with VirtualTracker(clock, [meter_of(clock, 300.0)]) as run:
        for _ in run.epochs(4):
            run.advance(25.0)
            run.step()
    assert train_j(run) == pytest.approx(300 * 100)
    assert run.summary["phases"]["train"]["steps"] == 4


def test_phases_and_devices_are_told_apart(clock: VirtualClock) -> None:
    counters = [ConstantCounter(clock, 300.0), ConstantCounter(clock, 40.0, device=CPU)]
    with VirtualTracker(clock, counters, zone="FR") as run:
        with run.phase("train"):
            run.advance(60.0)
        with run.phase("validate"):
            run.advance(6.5)
    phases = run.summary["phases"]
    assert phases["train"]["joules"] == pytest.approx({"gpu:GPU-1": 300 * 60, "cpu:0": 40 * 60})
    assert phases["validate"]["joules"] == pytest.approx({"gpu:GPU-1": 300 * 6.5, "cpu:0": 40 * 6.5})
    assert run.summary["site"]["zone"] == "FR"


def test_a_scripted_counter_with_the_quirks_of_a_real_one(clock: VirtualClock) -> None:
    counter = ScriptedCounter(
        clock, lambda time_s: 200.0 * time_s, refresh_s=0.1, phase_s=0.03, wraps_at_j=5_000.0, max_gap_s=10.0
    )
    with VirtualTracker(clock, [counter]) as run, run.phase("train"):
        run.advance(3600.0)
    assert train_j(run) == pytest.approx(200 * 3600, rel=1e-3)
    assert counter.reads > 360


def test_a_scripted_gauge_reads_the_mean_since_the_last_reading(clock: VirtualClock) -> None:
    gauge = ScriptedGauge(clock, lambda time_s: 0.5 * (time_s - 1000.0) ** 2)
    with VirtualTracker(clock, [gauge]) as run, run.phase("train"):
        run.advance(100.0)
    assert train_j(run) == pytest.approx(5000.0, rel=0.01)


def test_a_fault_is_a_gap_and_a_repaired_meter_is_read_again(clock: VirtualClock) -> None:
    counter = ScriptedCounter(clock, lambda time_s: 100.0 * time_s)
    with VirtualTracker(clock, [counter]) as run, run.phase("train"):
        run.advance(20.0)
        counter.fault = SourceError("the driver is away")
        run.advance(10.0)
        counter.fault = None
        run.advance(20.0)
    assert train_j(run) == pytest.approx(100 * 50)
    (device,) = run.summary["devices"]
    assert device["gap_s"] == pytest.approx(10, abs=1)


def test_a_run_folder_is_written(clock: VirtualClock, tmp_path: Path) -> None:
    with VirtualTracker(clock, [ConstantCounter(clock, 3600.0)], output_dir=tmp_path, run_name="run") as run:
        for _ in run.epochs(2):
            run.advance(10.0)
            run.step()
    assert run.summary["total_kwh"] == pytest.approx(0.02)
    assert read_run(tmp_path / "run").summary["total_kwh"] == run.summary["total_kwh"]


def test_sinks_get_the_results(clock: VirtualClock) -> None:
    class Kept(Sink):
        def __init__(self) -> None:
            self.summaries: list[Summary] = []

        def on_summary(self, summary: Summary) -> None:
            self.summaries.append(summary)

    kept = Kept()
    with VirtualTracker(clock, [ConstantCounter(clock, 100.0)], sinks=[kept]) as run:
        run.advance(36.0)
    assert [each["total_kwh"] for each in kept.summaries] == pytest.approx([0.001])


def test_a_second_run_begins_at_nothing(clock: VirtualClock) -> None:
    tracker = VirtualTracker(clock, [ConstantCounter(clock, 100.0)])
    for seconds in (10.0, 20.0):
        with tracker as run, run.phase("train"):
            run.advance(seconds)
        assert train_j(run) == pytest.approx(100 * seconds)


def test_a_suspended_machine_is_reported(clock: VirtualClock) -> None:
    with VirtualTracker(clock, [ConstantCounter(clock, 100.0)]) as run:
        run.advance(10.0)
        clock.suspend(500.0)
        run.advance(10.0)
    assert run.summary["suspended_s"] == pytest.approx(500)


def test_options_are_checked(clock: VirtualClock) -> None:
    with pytest.raises(ArgumentError, match="interval"):
        VirtualTracker(clock, [], interval=-1.0)
