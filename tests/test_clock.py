"""Moments on the wall clock."""

from __future__ import annotations

import pytest

from trainwatt.clock import Since
from trainwatt.testing import VirtualClock


def test_a_suspension_leaves_the_time_of_day_of_earlier_moments() -> None:
    clock = VirtualClock()
    since, truth = Since(clock), {}
    for step in range(40):
        clock.advance(0.25)
        truth[clock.monotonic()] = clock.wall()
        since.wall_at(clock.monotonic())
        if step in (7, 8, 30):
            clock.suspend(3600.0 * step)
    assert {time_s: since.wall_at(time_s) for time_s in truth} == pytest.approx(truth, abs=1e-6)
    assert since.suspended_s == 3600.0 * (7 + 8 + 30)
    assert since.wall_at(since.monotonic_s) == since.wall_s


def test_the_two_clocks_being_read_one_after_the_other_is_no_suspension() -> None:
    clock = VirtualClock()
    since = Since(clock)
    for _ in range(1000):
        clock.advance(0.25)
        clock.asleep_s += 1e-5
        assert since.wall_at(clock.monotonic()) == pytest.approx(clock.wall(), abs=0.02)
    assert since.suspended_s == 0
