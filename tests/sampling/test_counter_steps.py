"""A counter that wraps around, is reset or is misread ends at the truth, or a gap says for how long it is not known."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.powercap import AMD_RANGE_J
from trainwatt.power.attribution import AttributedCounter
from trainwatt.power.device import Device
from trainwatt.testing import ScriptedCounter, VirtualClock, VirtualSampler

CPU = Device("cpu:1", "cpu", "CPU", "measured", "a counter", max_w=400.0)
BEGIN_S = 1000.2
Misread = Callable[[float, float], float]

SENSELESS = [0.0, -1.0, math.nan, math.inf, 2.0**32 - 1, (2.0**32 - 1) / 1e3, 2.0**64 - 1, 2.0**64 / 1e6, 123_456.7]


class Outcome(NamedTuple):
    """A counter's final joules over time, its total, and what was said about it.

    While the counter is not believed, what was drawn since is an estimate, and none of the final joules.
    """

    joules: list[float]
    total_j: float
    gap_s: float
    note: str


def measured(
    seconds: float,
    energy_j: Callable[[float], float],
    misread: Misread = lambda _, joules: joules,
    *,
    interval_s: float = 1.0,
    refresh_s: float = 0.001,
    wraps_at_j: float | None = None,
) -> Outcome:
    """Energy of a device with a counter, read in virtual time. Times count from the start of the measurement."""
    clock = VirtualClock(BEGIN_S)
    sampler = VirtualSampler(clock)
    counter = ScriptedCounter(
        clock,
        lambda time_s: energy_j(time_s - BEGIN_S),
        refresh_s=refresh_s,
        wraps_at_j=wraps_at_j,
        max_gap_s=30.0,
        misread=lambda time_s, joules: misread(time_s - BEGIN_S, joules),
        device=CPU,
    )
    subscription = sampler.subscribe([counter], interval_s=interval_s)
    joules, gap_s = [], 0.0
    for _ in range(int(seconds)):
        sampler.advance(1.0)
        final_s = min(clock.now_s, subscription.settled_s())
        before_s, gap_s = gap_s, subscription.gaps_s.get(CPU.id, 0.0)
        if gap_s > before_s + 1e-6:
            continue
        joules.append(subscription.joules_at(final_s)[CPU.id] - subscription.joules_at(BEGIN_S)[CPU.id])
    joules.append(subscription.joules_at(clock.now_s)[CPU.id] - subscription.joules_at(BEGIN_S)[CPU.id])
    return Outcome(joules[:-1], joules[-1], subscription.gaps_s.get(CPU.id, 0.0), subscription.notes.get(CPU.id, ""))


def at_100_w(time_s: float) -> float:
    return 5e4 + 100 * time_s


def between(from_s: float, to_s: float, value: Callable[[float], float]) -> Misread:
    return lambda time_s, joules: value(joules) if from_s <= time_s < to_s else joules


@pytest.mark.parametrize("value", SENSELESS)
@pytest.mark.parametrize("for_s", [1.0, 3.0])
@pytest.mark.parametrize(("refresh_s", "wraps_at_j"), [(0.001, AMD_RANGE_J), (0.001, None), (0.1, None)])
def test_a_senseless_value_changes_nothing_in_the_end(
    value: float, for_s: float, refresh_s: float, wraps_at_j: float | None
) -> None:
    """4,000 J after 40 s: 100 W, whatever is read at 20 s."""
    read = between(20.0, 20.0 + for_s, lambda _: value)
    outcome = measured(40, at_100_w, read, refresh_s=refresh_s, wraps_at_j=wraps_at_j)
    assert outcome.total_j == pytest.approx(4000, abs=100 * refresh_s + 1)
    assert outcome.joules == sorted(outcome.joules)
    assert 0 < outcome.gap_s <= for_s + 2
    assert outcome.note


@pytest.mark.parametrize("value", SENSELESS)
def test_a_counter_may_begin_with_a_senseless_value(value: float) -> None:
    outcome = measured(40, at_100_w, between(0.0, 0.5, lambda _: value))
    assert outcome.total_j == pytest.approx(4000, abs=100)


@pytest.mark.parametrize("off_j", [1e5, -1e3, 1e3, 100.0])
@pytest.mark.parametrize("for_s", [1.0, 3.0, 10.0])
def test_a_counter_that_jumps_and_comes_back_ends_at_the_truth(off_j: float, for_s: float) -> None:
    outcome = measured(40, at_100_w, between(20.0, 20.0 + for_s, lambda joules: joules + off_j))
    # A jump of 100 J is within what the device may draw: it is seen when the counter falls, unless it lasts.
    allowed_j = 101 if off_j == 100 and for_s > 1 else 2
    assert outcome.total_j == pytest.approx(4000, abs=allowed_j)
    assert outcome.joules == sorted(outcome.joules)


def test_a_jump_of_100_kj_in_a_second_is_a_gap_of_a_second() -> None:
    outcome = measured(40, at_100_w, between(20.0, math.inf, lambda joules: joules + 1e5))
    assert outcome.total_j == pytest.approx(4000, abs=2)
    assert 1.0 <= outcome.gap_s <= 2.0
    assert re.search(
        r"jumped by 1e\+05 J; the gap of 1\.0 s is counted with the power before and after it", outcome.note
    )


@pytest.mark.parametrize("before_j", [1e3, 3e4, 5e4, 6.3e4, 6.5e4])
@pytest.mark.parametrize("wraps_at_j", [AMD_RANGE_J, None])
def test_a_reset_is_no_wrap_around_wherever_the_counter_stood(before_j: float, wraps_at_j: float | None) -> None:
    """One package draws 100 W; a counter of 65 kJ is reset, as by a suspension. Once this was up to 19.6 kJ."""
    outcome = measured(
        40,
        lambda time_s: before_j + 100 * time_s,
        between(20.5, math.inf, lambda joules: (joules - before_j - 100 * 20.5) % AMD_RANGE_J),
        wraps_at_j=wraps_at_j,
    )
    assert outcome.total_j == pytest.approx(4000, abs=5)
    assert 1.0 <= outcome.gap_s <= 2.0
    assert "was reset" in outcome.note


def test_the_gap_of_a_reset_has_the_power_around_it() -> None:
    """100 W before and 300 W after it, in the second of the reset: 200 J."""
    outcome = measured(
        40,
        lambda time_s: 1e6 + 100 * min(time_s, 20.5) + 300 * max(0.0, time_s - 20.5),
        between(20.5, math.inf, lambda joules: joules - 1e6 - 2050),
    )
    assert outcome.total_j == pytest.approx(2050 + 300 * 19.5, abs=50)


def test_a_reset_after_a_long_silence_adds_no_energy_that_nobody_knows() -> None:
    clock = VirtualClock(BEGIN_S)
    sampler = VirtualSampler(clock)
    counter = ScriptedCounter(clock, lambda time_s: 100 * time_s, reset_s=BEGIN_S + 3600, device=CPU)
    subscription = sampler.subscribe([counter])
    sampler.advance(20.0)
    clock.advance(3600.0)
    sampler.advance(20.0)
    total_j = subscription.joules_at(clock.now_s)[CPU.id] - subscription.joules_at(BEGIN_S)[CPU.id]
    assert total_j == pytest.approx(4000, abs=150)
    assert subscription.gaps_s[CPU.id] == pytest.approx(3600, abs=2)
    assert "is not counted" in subscription.notes[CPU.id]


@pytest.mark.parametrize("watts", [30.0, 100.0, 390.0])
@pytest.mark.parametrize("interval_s", [0.2, 1.0, 30.0])
def test_wrap_arounds_are_no_resets(watts: float, interval_s: float) -> None:
    """20 min, at up to the largest power that the device can draw."""
    outcome = measured(1200, lambda time_s: 6e4 + watts * time_s, interval_s=interval_s, wraps_at_j=AMD_RANGE_J)
    assert outcome.total_j == pytest.approx(watts * 1200, rel=1e-6)
    assert (outcome.gap_s, outcome.note) == (0.0, "")


def test_a_load_that_begins_at_a_wrap_around_is_counted() -> None:
    """20 W until the counter wraps around at 20 s, 390 W from then on."""
    outcome = measured(
        40,
        lambda time_s: AMD_RANGE_J - 400 + 20 * min(time_s, 20.0) + 390 * max(0.0, time_s - 20.0),
        wraps_at_j=AMD_RANGE_J,
    )
    assert outcome.total_j == pytest.approx(400 + 390 * 20, abs=2)


def test_a_counter_that_was_not_read_for_several_turns_is_taken_at_its_usual_power_and_marked() -> None:
    clock = VirtualClock(BEGIN_S)
    sampler = VirtualSampler(clock)
    counter = ScriptedCounter(clock, lambda t: 200 * t, wraps_at_j=AMD_RANGE_J, max_gap_s=30.0, device=CPU)
    subscription = sampler.subscribe([counter])
    sampler.advance(60.0)
    clock.advance(1800.0)
    sampler.advance(60.0)
    total_j = subscription.joules_at(clock.now_s)[CPU.id] - subscription.joules_at(BEGIN_S)[CPU.id]
    assert total_j == pytest.approx(200 * 1920, rel=1e-6)
    assert subscription.gaps_s[CPU.id] == pytest.approx(1800, abs=2)
    assert "wrapped around unseen" in subscription.notes[CPU.id]


def test_a_counter_that_makes_no_sense_any_more_is_given_up() -> None:
    values = itertools.cycle(SENSELESS)
    outcome = measured(90, at_100_w, between(20.0, math.inf, lambda _: next(values)))
    assert outcome.total_j == pytest.approx(2000, abs=110)
    assert outcome.gap_s == pytest.approx(70, abs=2)
    assert "no energy is counted after this point" in outcome.note


def test_a_misreading_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    outcome = measured(300, at_100_w, lambda time_s, joules: 0.0 if int(time_s) % 20 == 19 else joules)
    assert outcome.total_j == pytest.approx(30_000, abs=110)
    assert len(caplog.records) == 1
    assert "read 0 J, which it cannot have counted" in caplog.text


FAULTS = st.tuples(
    st.sampled_from(["value", "offset", "reset"]),
    st.floats(2.0, 55.0),
    st.sampled_from([0.02, 1.01, 2.0, 5.0]),
    st.one_of(st.sampled_from(SENSELESS), st.floats(-1e5, 1e5)),
)


@settings(max_examples=100)
@given(
    faults=st.lists(FAULTS, max_size=3),
    powers_w=st.tuples(st.floats(10, 300), st.floats(10, 300)),
    period_s=st.floats(0.3, 20),
    start_j=st.floats(0, 65_000),
    rhythm=st.sampled_from([(0.2, 0.001), (1.0, 0.001), (5.0, 0.001), (1.0, 0.02), (1.0, 0.1)]),
    wraps=st.booleans(),
)
def test_whatever_a_counter_does_the_total_stays_close_to_the_truth(
    *, faults, powers_w, period_s, start_j, rhythm, wraps
) -> None:
    """Each fault costs at most what the device can draw between two readings, twice for a fault that comes back."""
    interval_s, refresh_s = rhythm
    low_w, high_w = powers_w

    def energy_j(time_s: float) -> float:
        turns, rest_s = divmod(time_s, period_s)
        half_s = period_s / 2
        return turns * half_s * (low_w + high_w) + low_w * min(rest_s, half_s) + high_w * max(0.0, rest_s - half_s)

    def misread(time_s: float, joules: float) -> float:
        for kind, at_s, for_s, value in faults:
            if kind == "reset" and time_s >= at_s:
                joules = energy_j(time_s) - energy_j(at_s)
            elif kind == "offset" and at_s <= time_s < at_s + for_s:
                joules += value
            elif kind == "value" and at_s <= time_s < at_s + for_s:
                joules = value
        return joules % AMD_RANGE_J if wraps and math.isfinite(joules) and joules >= 0 else joules

    outcome = measured(
        60,
        lambda time_s: start_j + energy_j(time_s),
        misread,
        interval_s=interval_s,
        refresh_s=refresh_s,
        wraps_at_j=AMD_RANGE_J if wraps and refresh_s < 0.01 else None,
    )
    assert outcome.joules == sorted(outcome.joules)
    allowed_j = CPU.bound_w * (2 * len(faults) * (interval_s + 1) + 2 * refresh_s) + 1
    assert abs(outcome.total_j - energy_j(60)) <= allowed_j + max(powers_w) * interval_s
    assert outcome.note or outcome.gap_s == 0


@pytest.mark.parametrize("value", [0.0, 2.0**32 - 1, 2.0**64 - 1, 123_456.7])
@pytest.mark.parametrize("wraps_at_j", [AMD_RANGE_J, None])
def test_our_share_of_a_counter_withstands_a_senseless_value_too(value: float, wraps_at_j: float | None) -> None:
    clock = VirtualClock(BEGIN_S)
    sampler = VirtualSampler(clock)
    whole = ScriptedCounter(
        clock,
        lambda time_s: at_100_w(time_s - BEGIN_S),
        wraps_at_j=wraps_at_j,
        misread=between(BEGIN_S + 20, BEGIN_S + 21, lambda _: value),
        device=CPU,
    )
    counter = AttributedCounter(whole, lambda: 0.5, "CPU time")
    subscription = sampler.subscribe([counter])
    sampler.advance(40.0)
    (total_j,) = subscription.joules_at(clock.now_s).values()
    assert total_j == pytest.approx(2000, abs=2 * 50)
    assert 0.5 <= sum(subscription.gaps_s.values()) <= 3
