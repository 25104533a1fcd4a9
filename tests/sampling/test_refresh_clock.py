from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwatt.sampling.energy_series import Point
from trainwatt.sampling.refresh_clock import RefreshClock
from trainwatt.testing import ScriptedCounter, VirtualClock


def watch(
    counter: ScriptedCounter,
    clock: VirtualClock,
    seconds: float,
    *,
    late_s: float = 0.0,
    refresh: RefreshClock | None = None,
) -> list[Point]:
    """Read a counter for a while, when its refresh clock asks for it."""
    refresh = refresh or RefreshClock(counter.refresh_s)
    points: list[Point] = []
    end_s = clock.now_s + seconds
    while clock.now_s < end_s:
        points += refresh.observe(clock.now_s, counter.joules())
        clock.now_s = (refresh.next_read_s(clock.now_s, 0.0) or clock.now_s + 0.1) + late_s
    return points


def ramp_j(time_s: float) -> float:
    return 100 * time_s + 5 * time_s**2


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([0.02, 0.05, 0.1]), st.floats(0, 0.1), st.floats(-1e-4, 1e-4))
def test_points_are_true_at_their_times(period_s: float, phase_s: float, drift: float) -> None:
    """Also where the board's crystal runs fast or slow against ours."""
    clock = VirtualClock(start_s=50.0)
    counter = ScriptedCounter(clock, ramp_j, refresh_s=period_s * (1 + drift), phase_s=phase_s)
    points = watch(counter, clock, 30.0, late_s=1e-4)
    assert len(points) > 0.8 * 30 / period_s
    watts = 100 + 10 * 80
    for point in points:
        assert point.joules == pytest.approx(ramp_j(point.time_s), abs=0.005 * watts)


def test_a_counter_costs_about_one_reading_a_refresh() -> None:
    clock = VirtualClock()
    counter = ScriptedCounter(clock, ramp_j, refresh_s=0.1, phase_s=0.03)
    watch(counter, clock, 60.0)
    assert counter.reads < 1.6 * 600


def test_a_slow_driver_is_read_less_often_and_still_at_its_refreshes() -> None:
    clock = VirtualClock()
    counter = ScriptedCounter(clock, ramp_j, refresh_s=0.1, phase_s=0.03)
    refresh = RefreshClock(0.1)
    points: list[Point] = []
    while clock.now_s < 1060.0:
        points += refresh.observe(clock.now_s, counter.joules())
        clock.now_s = refresh.next_read_s(clock.now_s, 1.0) or 0.0
    assert counter.reads < 500
    for point in points:
        assert point.joules == pytest.approx(ramp_j(point.time_s), rel=1e-4)


def test_a_counter_without_a_rhythm_is_taken_half_a_refresh_late() -> None:
    clock = VirtualClock()
    uneven = [0.0, 0.04, -0.03, 0.01, -0.045, 0.03, 0.02]
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1, jitter_s=lambda n: uneven[n * n % 7])
    points = watch(counter, clock, 20.0)
    errors = [point.joules - 200 * point.time_s for point in points[-50:]]
    assert max(map(abs, errors)) < 200 * 0.15
    assert abs(sum(errors) / len(errors)) < 200 * 0.03


def test_a_counter_that_is_always_current_needs_no_learning() -> None:
    clock = VirtualClock()
    counter = ScriptedCounter(clock, ramp_j)
    points = watch(counter, clock, 1.0)
    assert [point.joules for point in points] == [ramp_j(point.time_s) for point in points]


def test_a_rhythm_that_changes_is_learnt_again() -> None:
    """A driver that is reloaded, or a machine that slept."""
    clock = VirtualClock()
    counter = ScriptedCounter(clock, lambda t: 300 * t, refresh_s=0.1, phase_s=0.02)
    refresh, points = RefreshClock(0.1), []
    while clock.now_s < 1040.0:
        if clock.now_s > 1020.0:
            counter.phase_s = 0.075
        points += refresh.observe(clock.now_s, counter.joules())
        clock.now_s = refresh.next_read_s(clock.now_s, 0.0) or 0.0
    for point in points[-50:]:
        assert point.joules == pytest.approx(300 * point.time_s, abs=300 * 0.003)


@pytest.mark.parametrize("first_s", [0.0, 0.03, 0.06, 0.09, 0.0995])
def test_a_thread_held_up_at_the_start_loses_nothing(first_s: float) -> None:
    """Loading a model may let the first reading pass and no other for a while."""
    clock = VirtualClock(start_s=50.0 + first_s)
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1)
    refresh, began_s = RefreshClock(0.1), clock.now_s
    points = list(refresh.observe(clock.now_s, counter.joules()))
    clock.now_s += 0.35
    points += watch(counter, clock, 1.0, refresh=refresh)
    assert points[0].time_s <= began_s
    for point in points:
        assert point.joules == pytest.approx(200 * point.time_s, abs=200 * 0.005)


def test_figures_are_known_roughly_before_their_rhythm_is() -> None:
    clock = VirtualClock()
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1)
    refresh = RefreshClock(0.1)
    assert watch(counter, clock, 0.35, refresh=refresh) == []
    first, *_, last = refresh.provisional
    assert last.joules - first.joules == pytest.approx(200 * (last.time_s - first.time_s), abs=200 * 0.1)


@pytest.mark.parametrize("first_s", [0.0, 0.03, 0.06, 0.09, 0.0995])
@pytest.mark.parametrize("readings", [4, 5, 8])
def test_rough_figures_of_a_thread_held_up_do_not_show_a_power_out_of_all_bounds(first_s: float, readings: int) -> None:
    """Read late, or for the first time just before a change, joules of a whole period seem to be drawn in no time."""
    clock = VirtualClock(start_s=50.0 + first_s)
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1)
    refresh = RefreshClock(0.1)
    for _ in range(readings):
        refresh.observe(clock.now_s, counter.joules())
        clock.now_s += 0.045
    first, *_, last = refresh.provisional
    assert (last.joules - first.joules) / (last.time_s - first.time_s) == pytest.approx(200, rel=0.5)


def test_rough_figures_of_readings_near_one_update_are_known() -> None:
    """Two values that may have come with the same update show no power."""
    clock = VirtualClock(start_s=50.09)
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1)
    refresh = RefreshClock(0.1)
    for gap_s in (0.08, 0.05, 0.1, 0.0):
        refresh.observe(clock.now_s, counter.joules())
        clock.now_s += gap_s
    for point in refresh.provisional:
        assert point.joules == pytest.approx(200 * point.time_s, abs=200 * 0.101)


def test_a_first_value_is_not_placed_after_its_reading() -> None:
    """It was read before a rhythm is known, and a rough rhythm must not put it into the future or far into the past."""
    phase_s = 0.001953125
    clock = VirtualClock(start_s=50.0)
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1, phase_s=phase_s)
    refresh = RefreshClock(0.1)
    for gap_s in (
        1.1953125,
        0.015625,
        0.0078125,
        0.01171875,
        0.001953125,
        1.0546875,
        0.015625,
        0.015625,
        0.0078125,
        1.046875,
    ):
        refresh.observe(clock.now_s, counter.joules())
        for point in refresh.provisional:
            assert point.joules == pytest.approx(200 * point.time_s, abs=200 * 0.101)
        clock.now_s += gap_s


@settings(max_examples=300)
@given(st.lists(st.one_of(st.floats(1e-3, 0.02), st.floats(0.05, 3.0)), max_size=60), st.floats(0, 0.1))
def test_whenever_it_is_read_no_figure_is_further_off_than_a_refresh(gaps_s: list[float], phase_s: float) -> None:
    clock = VirtualClock(start_s=50.0)
    counter = ScriptedCounter(clock, lambda t: 200 * t, refresh_s=0.1, phase_s=phase_s)
    refresh = RefreshClock(0.1)
    known: list[Point] = []
    for gap_s in gaps_s:
        known += refresh.observe(clock.now_s, counter.joules())
        for points in (known, refresh.provisional):
            assert [*points] == sorted(points)
            assert all(abs(point.joules - 200 * point.time_s) <= 200 * 0.101 for point in points)
        clock.now_s += gap_s
