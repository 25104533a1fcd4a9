from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.sampling.energy_series import EnergySeries

POINTS = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 1000)), min_size=2, max_size=30)
TIMES = st.lists(st.floats(-20, 400), min_size=2, max_size=20).map(sorted)


def series_of(cells: list[tuple[float, float]]) -> EnergySeries:
    series, time_s, joules = EnergySeries(), 0.0, 0.0
    series.add(time_s, joules)
    for width_s, energy_j in cells:
        time_s, joules = time_s + width_s, joules + energy_j
        series.add(time_s, joules)
    return series


@given(POINTS)
def test_energy_at_a_known_time_is_exact(cells: list[tuple[float, float]]) -> None:
    series, time_s, joules = series_of(cells), 0.0, 0.0
    for width_s, energy_j in cells:
        time_s, joules = time_s + width_s, joules + energy_j
        assert series.at(time_s) == pytest.approx(joules, abs=1e-6)


@given(POINTS, TIMES)
def test_energy_never_falls(cells: list[tuple[float, float]], times: list[float]) -> None:
    series = series_of(cells)
    joules = [series.at(time_s) for time_s in times]
    assert all(after >= before - 1e-6 for before, after in pairwise(joules))


@given(POINTS, TIMES)
def test_forgetting_the_past_changes_no_figure_after_it(cells: list[tuple[float, float]], times: list[float]) -> None:
    series = series_of(cells)
    expected = [series.at(time_s) for time_s in times[1:]]
    series.prune(times[0])
    if times[0] >= 0:
        assert [series.at(time_s) for time_s in times[1:]] == expected


def test_even_power_is_read_off_exactly_between_points() -> None:
    series = series_of([(1.0, 100.0)] * 5)
    assert series.at(2.37) == pytest.approx(237.0)
    assert series.at(-0.5) == pytest.approx(-50.0)
    assert series.at(7.25) == pytest.approx(725.0)


@pytest.mark.parametrize("switch_s", [2.1, 2.5, 2.9])
def test_a_step_within_a_cell_is_found(switch_s: float) -> None:
    """60 W until the switch, 300 W after it, known only at whole seconds."""

    def truth_j(time_s: float) -> float:
        return 60 * min(time_s, switch_s) + 300 * max(0.0, time_s - switch_s)

    series = EnergySeries()
    for second in range(6):
        series.add(second, truth_j(second))
    for time_s in (2.05, 2.3, 2.6, 2.95):
        assert series.at(time_s) == pytest.approx(truth_j(time_s))


def test_a_drift_is_not_taken_for_a_step() -> None:
    """Power that rises evenly, 100 W a second: within the cell the error stays that of even power."""
    series = EnergySeries()
    for second in range(6):
        series.add(second, 50 * second**2)
    assert series.at(2.5) == pytest.approx(50 * 2.5**2, abs=100 / 8)


def test_a_lost_device_draws_nothing_more() -> None:
    series = series_of([(1.0, 100.0)] * 3)
    series.close(2.5)
    assert series.at(100.0) == pytest.approx(250.0)
    assert series.settled_s(2) == float("inf")


def test_times_that_do_not_advance_are_dropped() -> None:
    series = series_of([(1.0, 100.0)])
    series.add(1.0, 500.0)
    series.add(0.5, 500.0)
    assert series.total_j == 100.0
