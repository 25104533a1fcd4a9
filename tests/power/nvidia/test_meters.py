import itertools
import random
from dataclasses import replace

import pynvml
import pytest

from standins.nvml import (
    Board,
    Code,
    Constant,
    Fault,
    Machine,
    Ramp,
    Square,
    a100,
    bursts,
    h100,
    p100,
    rtx4090,
    training,
    v100,
)
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Meter, Reading
from trainwatt.power.nvidia import discovery
from trainwatt.testing import VirtualClock, VirtualSampler

WAVES = [
    *(Square(60, 300, period_s) for period_s in (0.11, 0.3, 0.7, 1.0, 5.0)),
    bursts(60, 300),
    training(),
]


def meter_of(clock) -> Meter:
    (meter,) = discovery.find(clock=clock, environ={}).meters
    return meter


def emptied(
    meter, clock: VirtualClock, seconds: float, *, interval_s: float = 1.0, jitter: float = 0.3
) -> list[Reading]:
    """A gauge's readings over some seconds, asked unevenly as the sampler asks."""
    uneven = random.Random(1)
    end_s = clock.now_s + seconds
    readings = list(meter.readings())
    while clock.now_s < end_s:
        clock.now_s += min(interval_s, meter.max_gap_s / (1 + jitter)) * uneven.uniform(1 - jitter, 1 + jitter)
        readings += meter.readings()
    return readings


def integral_j(readings: list[Reading]) -> float:
    return sum((b.time_s - a.time_s) * (a.watts + b.watts) / 2 for a, b in itertools.pairwise(readings))


def off_by(machine: Machine, readings: list[Reading]) -> float:
    return integral_j(readings) / machine.truth_j(readings[0].time_s, readings[-1].time_s) - 1


@pytest.mark.parametrize("wave", WAVES, ids=str)
def test_an_hour_by_the_counter_is_exact(nvml_library, clock, wave) -> None:
    with nvml_library.running(a100(wave), clock=clock) as machine:
        meter, begin_s = meter_of(clock), clock.now_s
        before_j = meter.joules()
        clock.now_s += 3600
        assert meter.joules() - before_j == pytest.approx(machine.truth_j(begin_s, clock.now_s), abs=0.01)


@pytest.mark.parametrize("period_s", [0.37, 1.0, 5.0])
def test_an_hour_of_samples_emptied_each_second_is_within_2_percent(nvml_library, clock, period_s) -> None:
    with nvml_library.running(p100(Square(60, 300, period_s)), clock=clock) as machine:
        readings = emptied(meter_of(clock), clock, 3600)
        assert abs(off_by(machine, readings)) < 0.02
    assert readings == sorted(set(readings))
    assert len(readings) == pytest.approx(3600 / 0.02, rel=0.001)


@pytest.mark.parametrize("wave", WAVES, ids=str)
@pytest.mark.parametrize("board", [p100(), p100(samples=0), h100(samples=0), rtx4090(), a100()], ids=lambda b: b.name)
def test_the_truth_lies_in_the_range_that_a_gauge_gives(nvml_library, clock, board: Board, wave) -> None:
    board = replace(board, waves=(wave,), counter_refresh_s=0, power_phase_s=0.013)
    with nvml_library.running(board, clock=clock) as machine:
        meter = meter_of(clock)
        off = off_by(machine, emptied(meter, clock, 120))
    assert meter.device.low < 1 / (1 + off) < meter.device.high


def test_a_boards_sensor_may_be_6_percent_low_within_the_range(nvml_library, clock) -> None:
    with nvml_library.running(rtx4090(Constant(300), gain=0.945), clock=clock):
        device, watts = meter_of(clock).device, meter_of(clock).watts()
    assert device.low * watts < 300 < device.high * watts


@pytest.mark.parametrize("board", [p100(), a100(), h100(), rtx4090()], ids=lambda board: board.name)
def test_a_sample_is_placed_where_its_power_was_drawn(nvml_library, clock, board) -> None:
    board = replace(board, waves=(Ramp(0, 6000, -20, 60),), counter_refresh_s=0, noise_w=0)
    with nvml_library.running(board, clock=clock):
        start_s = clock.now_s
        readings = emptied(meter_of(clock), clock, 20)
    slope_w_per_s = 100
    for reading in readings:
        assert reading.watts == pytest.approx(slope_w_per_s * (reading.time_s - start_s + 20), abs=0.1)


@pytest.mark.parametrize("board", [p100(), a100(), h100(), rtx4090()], ids=lambda board: board.name)
def test_a_polled_reading_is_placed_so_on_average(nvml_library, clock, board) -> None:
    board = replace(board, waves=(Ramp(0, 6000, -20, 60),), counter_refresh_s=0, noise_w=0, samples=0)
    with nvml_library.running(board, clock=clock):
        start_s = clock.now_s
        readings = emptied(meter_of(clock), clock, 30)
    late_s = [reading.watts / 100 - (reading.time_s - start_s + 20) for reading in readings]
    assert sum(late_s) / len(late_s) == pytest.approx(0, abs=0.02)
    assert max(map(abs, late_s)) <= board.power_refresh_s / 2 + 1e-3


def test_untidy_samples_count_once_each_and_in_order(nvml_library) -> None:
    seen = []
    for untidy in (False, True):
        clock = VirtualClock()
        with nvml_library.running(p100(bursts(60, 300), samples_untidy=untidy), clock=clock):
            seen.append(emptied(meter_of(clock), clock, 60))
    assert seen[0] == seen[1]


def test_no_sample_is_older_than_the_meter_by_much(nvml_library, clock) -> None:
    with nvml_library.running(p100(), clock=clock):
        meter = meter_of(clock)
        first = meter.readings()
    assert clock.now_s - meter.max_gap_s - 0.02 <= first[0].time_s
    assert clock.now_s - 0.03 <= first[-1].time_s <= clock.now_s


@pytest.mark.parametrize("step_s", [-3600.0, -5.0, -1.0, 2.0, 3600.0])
def test_a_wall_clock_that_is_set_does_no_harm(nvml_library, clock, step_s) -> None:
    machine = Machine((p100(Square(60, 300, 1.0)),), clock.now_s, wall_step_at_s=30.4, wall_step_s=step_s)
    with nvml_library.running(machine, clock=clock):
        meter = meter_of(clock)
        readings = emptied(meter, clock, 30)
        clock.now_s = machine.origin_s + 30.4
        clock.wall_offset_s += step_s
        readings += emptied(meter, clock, 30)
        assert abs(off_by(machine, readings)) < 0.02
    times_s = [reading.time_s for reading in readings]
    assert times_s == sorted(set(times_s))
    assert times_s[-1] <= clock.now_s
    assert max(b - a for a, b in itertools.pairwise(times_s)) < 3.0


def test_a_buffer_that_stops_is_replaced_by_polling(nvml_library, clock) -> None:
    board = p100(Constant(150), faults=(Fault(Code.NOT_FOUND, "samples", from_s=10.0),))
    with nvml_library.running(board, clock=clock) as machine:
        meter = meter_of(clock)
        readings = emptied(meter, clock, 60)
        assert clock.now_s - readings[-1].time_s < 5
        assert abs(off_by(machine, readings)) < 0.01


def test_a_buffer_that_comes_back_tells_nothing_older_than_what_was_polled(nvml_library, clock) -> None:
    board = p100(Square(60, 300, 7.0), faults=(Fault(Code.NOT_FOUND, "samples", from_s=10.0, to_s=40.0),))
    with nvml_library.running(board, clock=clock) as machine:
        readings = emptied(meter_of(clock), clock, 60)
        assert abs(off_by(machine, readings)) < 0.05
    times_s = [reading.time_s for reading in readings]
    assert times_s == sorted(set(times_s))
    assert times_s[-1] - times_s[-2] == pytest.approx(0.02)


def test_a_buffer_that_is_taken_away_has_polling_to_fall_back_on(nvml_library, clock) -> None:
    board = p100(faults=(Fault(Code.NOT_SUPPORTED, "samples", from_s=10.0),))
    with nvml_library.running(board, clock=clock):
        meter = meter_of(clock)
        clock.now_s += 11.0
        with pytest.raises(SourceLostError):
            meter.readings()
        assert meter.fallback().device.source == "NVML power, polled"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.GPU_IS_LOST, SourceLostError),
        (Code.NOT_SUPPORTED, SourceLostError),
        (Code.UNKNOWN, SourceError),
        (Code.TIMEOUT, SourceError),
    ],
)
@pytest.mark.parametrize("board", [v100(), p100(), p100(samples=0)], ids=["counter", "samples", "polled"])
def test_an_error_passes_unless_the_board_is_lost(nvml_library, clock, board, code, expected) -> None:
    board = replace(board, faults=(Fault(code, from_s=1.0, to_s=2.0),))
    with nvml_library.running(board, clock=clock):
        meter = meter_of(clock)
        read = meter.joules if hasattr(meter, "joules") else meter.readings
        clock.now_s += 1.5
        with pytest.raises(SourceError) as caught:
            read()
        assert type(caught.value) is expected
        clock.now_s += 1.0
        assert read()


def test_a_counter_goes_on_after_someone_has_shut_nvml_down(nvml_library, clock) -> None:
    with nvml_library.running(v100(Constant(100)), clock=clock):
        meter = meter_of(clock)
        before_j = meter.joules()
        while nvml_library.users:
            pynvml.nvmlShutdown()
        clock.now_s += 1.0
        with pytest.raises(SourceError):
            meter.joules()
        assert meter.joules() - before_j == pytest.approx(100)


def test_a_counter_falls_back_on_the_best_that_is_left(nvml_library, clock) -> None:
    sources = []
    for board in (v100(), v100(samples=0), v100(samples=0, faults=(Fault(Code.NOT_SUPPORTED, "power"),))):
        with nvml_library.running(board, clock=clock):
            gauge = meter_of(clock).fallback()
            sources.append(gauge and gauge.device.source)
    assert sources == ["NVML power samples", "NVML power, polled", None]


def test_after_a_reset_the_counter_starts_again(nvml_library, clock) -> None:
    with nvml_library.running(v100(Constant(100), counter_reset_s=10.0), clock=clock):
        meter = meter_of(clock)
        assert meter.joules() == pytest.approx(1e6)
        clock.now_s += 11.0
        assert meter.joules() == pytest.approx(100)


@pytest.mark.parametrize(
    ("board", "max_w"),
    [
        (h100(), 700 * 1.2),
        (rtx4090(), 450 * 1.2),
        (a100(), 400 * 1.6),
        (v100(), 300 * 1.6),
        (p100(), 250 * 1.6),
        (h100(module_scope=True), 700 * 1.2 + 500),
        (h100(power_limit_w=0.0), None),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_board_is_believed_as_far_as_its_power_limit_allows(nvml_library, clock, board, max_w) -> None:
    with nvml_library.running(board, clock=clock):
        meter = meter_of(clock)
    assert meter.device.max_w == (max_w and pytest.approx(max_w))
    assert meter.device.bound_w == pytest.approx(max_w or 2_000)


@pytest.mark.parametrize("value_j", [0.0, 100.0, (2**32 - 1) / 1e3, 2.0**64 / 1e3, 1.1e6])
@pytest.mark.parametrize("board", [v100, a100, h100], ids=lambda board: board.__name__)
def test_a_value_that_a_counter_cannot_have_changes_nothing(nvml_library, clock, board, value_j) -> None:
    misread = board(
        training(), counter_misread_j=value_j, counter_misread_from_s=30.0, counter_misread_to_s=32.0, gain=1.0
    )
    with nvml_library.running(misread, clock=clock) as machine:
        sampler, begin_s = VirtualSampler(clock), clock.now_s
        subscription = sampler.subscribe([meter_of(clock)])
        sampler.advance(60.0)
        (after_j,), (before_j,) = (subscription.joules_at(at_s).values() for at_s in (clock.now_s, begin_s))
        assert after_j - before_j == pytest.approx(machine.truth_j(begin_s, clock.now_s), rel=0.005)
    (gap_s,), (note,) = subscription.gaps_s.values(), subscription.notes.values()
    assert 1.5 <= gap_s <= 3.5
    assert "which it cannot have counted" in note or "jumped" in note or "was reset" in note
