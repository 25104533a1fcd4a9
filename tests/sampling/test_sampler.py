from __future__ import annotations

import logging
import os
import re
import threading
import time

import pytest

from standins.waves import Square
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Device
from trainwatt.sampling.sampler import Sampler, Subscription, shared_sampler
from trainwatt.testing import ConstantGauge, ScriptedCounter, ScriptedGauge, VirtualClock, run_until

WAVES = {"const": (250.0, 250.0, 1.0), "1 s": (60.0, 300.0, 1.0), "5 s": (60.0, 300.0, 5.0)}


def sampler_at(start_s: float = 1000.2) -> tuple[Sampler, VirtualClock]:
    clock = VirtualClock(start_s)
    return Sampler(clock, threaded=False), clock


def energy_j(subscription: Subscription, begin_s: float, end_s: float) -> float:
    return sum(subscription.joules_at(end_s).values()) - sum(subscription.joules_at(begin_s).values())


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("phase_s", [0.0, 0.013, 0.051, 0.087])
def test_short_epochs_of_a_slowly_refreshed_counter_are_right_within_half_a_percent(wave: str, phase_s: float) -> None:
    sampler, clock = sampler_at()
    true_j = Square(*WAVES[wave]).energy_j
    subscription = sampler.subscribe([ScriptedCounter(clock, true_j, refresh_s=0.1, phase_s=phase_s)])
    run_until(sampler, clock, clock.now_s + 1.0, late_s=5e-4)
    for _ in range(10):
        begin_s = clock.now_s
        run_until(sampler, clock, begin_s + 3.37, late_s=5e-4)
        end_s = clock.now_s
        run_until(sampler, clock, end_s + 0.3, late_s=5e-4)
        assert energy_j(subscription, begin_s, end_s) == pytest.approx(true_j(end_s) - true_j(begin_s), rel=0.005)


@pytest.mark.parametrize("wave", WAVES)
def test_a_board_without_a_counter_is_right_within_two_percent(wave: str) -> None:
    sampler, clock = sampler_at()
    true_j = Square(*WAVES[wave]).energy_j
    subscription = sampler.subscribe([ScriptedGauge(clock, true_j)])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 60.0)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(
        true_j(clock.now_s) - true_j(begin_s), rel=0.02
    )


def test_several_boards_add_up() -> None:
    sampler, clock = sampler_at()
    boards = [
        ScriptedCounter(clock, lambda t: 100 * t, refresh_s=0.1, device=Device(f"gpu:{n}", "gpu", "B", "measured", "c"))
        for n in range(4)
    ]
    subscription = sampler.subscribe(boards)
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 20.0)
    assert len(subscription.joules_at(clock.now_s)) == 4
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(8000, rel=1e-3)


@pytest.mark.parametrize("wraps_at_j", [65_532.0, 262_143.0])
def test_no_wrap_around_is_missed_at_full_power(wraps_at_j: float) -> None:
    """500 W for three hours on a counter that starts again every few minutes; the user wants few samples."""
    sampler, clock = sampler_at()
    counter = ScriptedCounter(clock, lambda t: 500 * t, wraps_at_j=wraps_at_j, max_gap_s=30.0)
    subscription = sampler.subscribe([counter], interval_s=3600.0)
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 10_800.0)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(500 * 10_800)


def test_a_counter_that_is_reset_loses_no_energy(caplog: pytest.LogCaptureFixture) -> None:
    """A driver reload."""
    sampler, clock = sampler_at()
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1, reset_s=1020.0, sensor_w=200.0)
    subscription = sampler.subscribe([counter])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 40.0)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(8000, rel=0.01)
    assert "reset" in caplog.text


def test_a_counter_that_stands_still_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    sampler, clock = sampler_at()
    sensor = ScriptedGauge(clock, lambda t: 150 * t)
    counter = ScriptedCounter(
        clock, lambda t: 150 * t, refresh_s=0.1, frozen_s=1020.0, sensor_w=150.0, replacement=sensor
    )
    subscription = sampler.subscribe([counter])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 60.0)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(9000, rel=0.01)
    assert subscription.devices[0].source == "a gauge"
    assert len([record for record in caplog.records if "is stuck" in record.message]) == 1


def test_an_idle_counter_of_a_device_that_draws_nothing_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    sampler, clock = sampler_at()
    subscription = sampler.subscribe([ScriptedCounter(clock, lambda _: 0.0, refresh_s=0.1, sensor_w=0.0)])
    run_until(sampler, clock, clock.now_s + 30.0)
    assert energy_j(subscription, 1000.2, clock.now_s) == 0
    assert not caplog.records


def test_a_counter_that_disagrees_with_its_sensor_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """The counter of a whole module, say."""
    sampler, clock = sampler_at()
    sampler.subscribe([ScriptedCounter(clock, lambda t: 600 * t, refresh_s=0.1, sensor_w=150.0)])
    run_until(sampler, clock, clock.now_s + 60.0)
    assert len(caplog.records) == 1
    assert re.search(r"counter reports (59|60)\d W .* sensor reports 150 W", caplog.text)


def test_a_board_lost_in_mid_run_keeps_what_it_counted_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    sampler, clock = sampler_at()
    lost = ScriptedCounter(clock, lambda t: 100 * t, refresh_s=0.1)
    good = ScriptedCounter(clock, lambda t: 50 * t, device=Device("cpu:0", "cpu", "Other", "measured", "c"))
    subscription = sampler.subscribe([lost, good])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 20.0)
    lost.fault = SourceLostError("GPU is lost")
    run_until(sampler, clock, begin_s + 60.0)
    joules = subscription.joules_at(clock.now_s)
    before = subscription.joules_at(begin_s)
    assert joules["gpu:GPU-1"] - before["gpu:GPU-1"] == pytest.approx(2000, rel=0.01)
    assert joules["cpu:0"] - before["cpu:0"] == pytest.approx(3000)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert "GPU is lost" in subscription.notes["gpu:GPU-1"]
    assert subscription.settled_s() > clock.now_s - 4


def test_errors_for_a_while_cost_a_counter_nothing_and_are_marked(caplog: pytest.LogCaptureFixture) -> None:
    sampler, clock = sampler_at()
    counter = ScriptedCounter(clock, lambda t: 100 * t, refresh_s=0.1)
    subscription = sampler.subscribe([counter])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 20.0)
    counter.fault = SourceError("timeout")
    run_until(sampler, clock, begin_s + 30.0)
    counter.fault = None
    run_until(sampler, clock, begin_s + 60.0)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(6000, rel=1e-3)
    assert subscription.gaps_s["gpu:GPU-1"] == pytest.approx(10, abs=1.5)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.25, 0.3, 0.6, 3.0])
@pytest.mark.parametrize("held_up_s", [0.5, 2.0, 5.0, 100.0])
def test_seconds_without_a_reading_lose_no_joule_of_a_counter(after_s: float, held_up_s: float) -> None:
    sampler, clock = sampler_at()
    counter = ScriptedCounter(clock, lambda t: 250 * t, refresh_s=0.1, phase_s=0.04, sensor_w=250.0)
    subscription = sampler.subscribe([counter])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + after_s, late_s=2e-4)
    clock.now_s += held_up_s
    run_until(sampler, clock, clock.now_s + 5.0, late_s=2e-4)
    true_j = 250 * (clock.now_s - begin_s)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(true_j, abs=250 * 0.1)  # one refresh


@pytest.mark.parametrize(("held_up_s", "put_in_s"), [(1.0, 1.0), (10.0, 10.0), (3600.0, 0.0)])
def test_seconds_without_a_reading_are_a_gap_of_a_gauge(held_up_s: float, put_in_s: float) -> None:
    """A second is nothing, ten are put in and marked, an hour is marked only."""
    sampler, clock = sampler_at()
    subscription = sampler.subscribe([ConstantGauge(clock, 200.0)])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 5.0)
    clock.now_s += held_up_s
    run_until(sampler, clock, clock.now_s + 5.0)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(200 * (10 + put_in_s), rel=0.05)
    assert subscription.gaps_s.get("gpu:GPU-1", 0.0) == pytest.approx(held_up_s if held_up_s > 3 else 0.0, abs=0.3)


def test_a_clock_that_jumps_by_hours_gives_a_model_no_joules() -> None:
    sampler, clock = sampler_at()
    model = ScriptedCounter(clock, lambda t: 50 * t, device=Device("ram:1", "ram", "Memory", "estimated", "a model"))
    subscription = sampler.subscribe([model])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 60.0)
    clock.now_s += 8 * 3600
    run_until(sampler, clock, clock.now_s + 60.0)
    assert energy_j(subscription, begin_s, clock.now_s) == pytest.approx(50 * 120, rel=0.02)
    assert subscription.gaps_s["ram:1"] == pytest.approx(8 * 3600, rel=0.01)


def test_a_source_that_keeps_failing_is_tried_again_seldom() -> None:
    sampler, clock = sampler_at()
    counter = ScriptedCounter(clock, lambda t: 100 * t)
    sampler.subscribe([counter])
    run_until(sampler, clock, clock.now_s + 5.0)
    counter.fault = SourceError("permission withdrawn")
    run_until(sampler, clock, clock.now_s + 60.0)
    reads = counter.reads
    run_until(sampler, clock, clock.now_s + 60.0)
    assert counter.reads - reads <= 4


def test_memory_stays_bounded_in_a_run_of_weeks() -> None:
    sampler, clock = sampler_at()
    subscription = sampler.subscribe([ScriptedCounter(clock, lambda t: 300 * t)], interval_s=10.0)
    begin_s = clock.now_s
    for _ in range(21):
        run_until(sampler, clock, clock.now_s + 86_400.0 / 10)
        subscription.floor_s = subscription.settled_s()
    assert len(subscription._channels[0].series) < 1000
    assert subscription.joules_at(clock.now_s)["gpu:GPU-1"] == pytest.approx(300 * (clock.now_s - begin_s), rel=1e-9)


def test_two_runs_share_one_reading_of_a_device() -> None:
    sampler, clock = sampler_at()
    first = ScriptedCounter(clock, lambda t: 100 * t)
    second = ScriptedCounter(clock, lambda t: 100 * t)
    outer = sampler.subscribe([first])
    run_until(sampler, clock, clock.now_s + 5.0)
    inner = sampler.subscribe([second])
    begin_s = clock.now_s
    run_until(sampler, clock, begin_s + 5.0)
    assert energy_j(inner, begin_s, clock.now_s) == pytest.approx(500)
    assert second.reads == 0
    inner.close()
    run_until(sampler, clock, begin_s + 10.0)
    assert energy_j(outer, 1000.2, clock.now_s) == pytest.approx(1500)


def test_the_thread_ends_with_the_last_run() -> None:
    sampler = Sampler()
    clock = VirtualClock(0.0)
    subscriptions = [sampler.subscribe([ScriptedCounter(clock, lambda t: t)]) for _ in range(2)]
    assert [thread for thread in threading.enumerate() if thread.name == "trainwatt-sampler"]
    subscriptions[0].close()
    assert sampler.running
    subscriptions[1].close()
    subscriptions[1].close()
    assert not sampler.running
    assert not [thread for thread in threading.enumerate() if thread.name == "trainwatt-sampler"]


def test_a_listener_that_fails_does_not_end_the_thread() -> None:
    sampler, calls = Sampler(), []

    def stumble() -> None:
        calls.append(1)
        raise RuntimeError("a full disk, say")

    subscription = sampler.subscribe([ScriptedCounter(VirtualClock(0.0), lambda t: t)], interval_s=0.01)
    subscription.on_tick = stumble
    deadline_s = time.monotonic() + 10
    while len(calls) < 3 and time.monotonic() < deadline_s:
        sampler.wake()
        time.sleep(0.01)
    subscription.close()
    assert len(calls) >= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_after_fork_nothing_of_ours_runs_in_the_child() -> None:
    parent = shared_sampler()
    subscription = parent.subscribe([ScriptedCounter(VirtualClock(0.0), lambda t: t)])
    child = os.fork()
    if child == 0:
        fresh = shared_sampler() is not parent
        alone = threading.active_count() == 1
        os._exit(0 if fresh and alone else 1)
    _, status = os.waitpid(child, 0)
    subscription.close()
    assert os.waitstatus_to_exitcode(status) == 0
