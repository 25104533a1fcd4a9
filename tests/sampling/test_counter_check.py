"""A counter and a power sensor of one GPU: if they disagree, that is reported, and the range includes both."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from standins.nvml import Constant, Library, Square, Trace, Wave, a100, bursts, h100, rtx4090, training, v100
from trainwatt.power.nvidia import discovery
from trainwatt.testing import ScriptedCounter, VirtualClock, VirtualSampler, VirtualTracker

LOADS: dict[str, Wave] = {
    "constant": Constant(300.0),
    "training": training(),
    "square of 0.7 s": Square(60, 300, 0.7),
    "square of 5 s": Square(60, 300, 5.0),
    "square of 60 s": Square(60, 300, 60.0),
    "bursts": bursts(60, 300),
    "idle, then busy": Trace([(25.0, 60.0), (3600.0, 390.0)]),
}
# Loads that hardly vary, so that 10 s are enough.
STEADY = {"constant": LOADS["constant"], "training": LOADS["training"]}
BOARDS = [a100, h100, rtx4090, v100]


@pytest.mark.parametrize("gain", [1.75, 1 / 1.75, 1.3, 0.75])
@pytest.mark.parametrize("load", STEADY)
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.__name__)
def test_a_disagreement_is_reported_and_the_range_includes_both(
    nvml_library: Library, clock: VirtualClock, caplog: pytest.LogCaptureFixture, board, load: str, gain: float
) -> None:
    with nvml_library.running(board(STEADY[load], gain=gain), clock=clock) as machine:
        sampler, begin_s = VirtualSampler(clock), clock.now_s
        subscription = sampler.subscribe(discovery.find(clock=clock, environ={}).meters)
        sampler.advance(450.0)
        (device,) = subscription.devices
        counted_j = sum(subscription.joules_at(clock.now_s).values()) - sum(subscription.joules_at(begin_s).values())
        truth_j = machine.truth_j(begin_s, clock.now_s)
    assert counted_j == pytest.approx(truth_j, rel=0.01)
    assert 0.9 * min(1.0, gain) < device.low < min(1.0, gain)
    assert max(1.0, gain) < device.high < 1.1 * max(1.0, gain)
    assert len(caplog.records) == 1
    assert re.search(r"counter reports \d+ W on average, but its power sensor reports \d+ W", caplog.text)
    assert "includes both" in caplog.text


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("gain", [0.94, 1.0, 1.05])
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.__name__)
def test_what_the_accuracies_and_the_sampling_allow_is_no_disagreement(
    nvml_library: Library, clock: VirtualClock, caplog: pytest.LogCaptureFixture, board, load: str, gain: float
) -> None:
    with nvml_library.running(board(LOADS[load], gain=gain, power_limit_w=400.0), clock=clock):
        sampler = VirtualSampler(clock)
        (meter,) = discovery.find(clock=clock, environ={}).meters
        subscription = sampler.subscribe([meter])
        sampler.advance(500.0)
        assert subscription.devices == (meter.device,)
    assert not caplog.records


@pytest.mark.parametrize("load", ["square of 0.7 s", "square of 5 s", "bursts"])
def test_under_an_uneven_load_a_factor_of_1_75_is_found_within_two_minutes(
    nvml_library: Library, clock: VirtualClock, load: str
) -> None:
    with nvml_library.running(a100(LOADS[load], gain=1.75), clock=clock):
        sampler = VirtualSampler(clock)
        subscription = sampler.subscribe(discovery.find(clock=clock, environ={}).meters)
        sampler.advance(120.0)
        assert subscription.devices[0].high > 1.6
        assert subscription.notes


def test_a_run_gives_the_range_of_both(nvml_library: Library, clock: VirtualClock) -> None:
    with nvml_library.running(h100(Constant(200.0), gain=1.75), clock=clock):
        meters = discovery.find(clock=clock, environ={}).meters
        with VirtualTracker(clock, meters) as run:
            run.advance(60.0)
        (device,) = run.summary["devices"]
    assert device["joules"] == pytest.approx(200 * 60, rel=0.01)
    assert device["low"] == pytest.approx(0.94)
    assert device["high"] == pytest.approx(1.75 * 1.06, rel=0.01)
    assert "sensor reports 350 W" in device["note"]


def test_the_counter_of_a_module_may_exceed_the_sensor_of_its_gpu(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    sampler = VirtualSampler(clock)
    counter = ScriptedCounter(clock, lambda t: 600 * t, refresh_s=0.1, sensor_w=400.0)
    counter.device = replace(counter.device, covers=("cpu", "ram"))
    sampler.subscribe([counter])
    sampler.advance(60.0)
    assert not caplog.records


@pytest.mark.parametrize("sensor_w", [-5.0, float("nan"), 1e7])
def test_a_senseless_sensor_says_nothing_about_the_counter(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, sensor_w: float
) -> None:
    sampler = VirtualSampler(clock)
    sampler.subscribe([ScriptedCounter(clock, lambda t: 300 * t, refresh_s=0.1, sensor_w=sensor_w)])
    sampler.advance(60.0)
    assert not caplog.records
