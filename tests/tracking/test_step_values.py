"""Values within an epoch and at its end: they never contradict each other, whatever the counter's updates and the load.

The counter lags up to one update behind, so the last moments of each figure are extrapolated, and corrected later.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.waves import Square
from trainwatt.power.device import Device
from trainwatt.projection.plan import Plan
from trainwatt.testing import ScriptedCounter, VirtualClock, VirtualTracker
from trainwatt.units import J_PER_KWH

ORIGIN_S = 100.0

UPDATES_S = st.sampled_from([0.0, 0.01, 0.02, 0.05, 0.1])
LOADS = st.builds(
    Square,
    low_w=st.floats(20, 100),
    high_w=st.floats(150, 700),
    period_s=st.floats(0.05, 8.0),
    duty=st.floats(0.1, 0.9),
    phase_s=st.floats(0, 8.0),
)
LOGS_S = st.floats(0.01, 2.0)


def counter_of(clock: VirtualClock, load: Square, update_s: float, phase: float) -> ScriptedCounter:
    return ScriptedCounter(clock, load.energy_j, refresh_s=update_s, phase_s=phase * update_s)


@settings(deadline=None, max_examples=150)
@given(UPDATES_S, st.floats(0, 1), LOADS, LOGS_S, st.floats(0, 0.004), st.integers(1, 4), st.booleans())
def test_a_total_never_falls_and_power_stays_within_what_the_device_draws(
    update_s: float, phase: float, load: Square, log_s: float, late_s: float, epochs: int, planned: bool
) -> None:
    clock = VirtualClock(start_s=ORIGIN_S)
    totals: list[float] = []
    powers: list[float] = []
    with VirtualTracker(clock, [counter_of(clock, load, update_s, phase)], devices="gpu") as run:
        if planned:
            run.plan(Plan(epochs=epochs))
        for epoch in range(epochs):
            run.begin("train", epoch=epoch)
            for _ in range(12):
                clock.advance(late_s)
                run.advance(log_s)
                run.step()
                snapshot = run.step_snapshot()
                assert snapshot is not None
                values = snapshot.step_metrics()
                totals.append(values.get("energy/total_kwh", 0.0))
                powers += [values["energy/power_w"]] if "energy/power_w" in values else []
                if "projection/total_kwh" in values:
                    assert values["projection/total_kwh"] >= values["energy/total_kwh"]
                    assert values["projection/total_kwh_high"] >= values["projection/total_kwh"]
                    assert values["projection/total_kwh_low"] >= values["energy/total_kwh"]
            run.end("train")
            closed = run.end_epoch()
            assert closed is not None
            totals.append(closed.metrics().get("energy/total_kwh", 0.0))
    totals.append(run.summary["total_kwh"])
    assert totals == sorted(totals), [pair for pair in pairwise(totals) if pair[1] < pair[0]]
    # A counter's updates are located within 2 % of their interval, and a power covers two of them at least.
    assert all(0.9 * load.low_w <= power <= 1.1 * load.high_w for power in powers)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([0.02, 0.05, 0.1]), st.integers(0, 999), LOADS, st.floats(0.1, 1.0), st.integers(1, 3))
def test_nor_do_they_with_a_counter_that_is_updated_at_irregular_times(
    update_s: float, seed: int, load: Square, log_s: float, epochs: int
) -> None:
    clock = VirtualClock(start_s=ORIGIN_S)
    uneven = random.Random(seed)
    late_s = [uneven.uniform(-0.45, 0.45) * update_s for _ in range(997)]
    device = Device("gpu:GPU-1", "gpu", "Virtual GPU", "measured", "a counter", 0.94, 1.06, max_w=700.0)
    counter = ScriptedCounter(
        clock, load.energy_j, refresh_s=update_s, jitter_s=lambda number: late_s[number % 997], device=device
    )
    totals, powers = [], []
    with VirtualTracker(clock, [counter], devices="gpu") as run:
        for epoch in range(epochs):
            run.begin("train", epoch=epoch)
            for _ in range(20):
                run.advance(log_s)
                run.step()
                snapshot = run.step_snapshot()
                assert snapshot is not None
                totals.append(snapshot.total.total_j)
                powers += [snapshot.recent.total_j / snapshot.recent.seconds] if snapshot.recent.seconds else []
            run.end("train")
            closed = run.end_epoch()
            assert closed is not None
            totals.append(closed.total.total_j)
    totals.append(run.summary["total_j"])
    assert totals == sorted(totals), [pair for pair in pairwise(totals) if pair[1] < pair[0]]
    assert all(0 <= power <= 700 for power in powers)
    drawn_j = load.energy_j(clock.now_s) - load.energy_j(ORIGIN_S)
    # The first and the last update are uncertain by half their interval and its jitter, and so is what was shown.
    assert totals[-1] == pytest.approx(drawn_j, rel=0.02, abs=4 * update_s * load.high_w)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([0.02, 0.1]), st.floats(0, 1), LOADS, st.floats(0.3, 2.0))
def test_the_powers_within_an_epoch_add_up_to_its_energy(
    update_s: float, phase: float, load: Square, log_s: float
) -> None:
    """Each covers the time since the one before, by what is known when it is logged."""
    clock = VirtualClock(start_s=ORIGIN_S)
    with VirtualTracker(clock, [counter_of(clock, load, update_s, phase)], devices="gpu") as run:
        run.begin("train")
        run.advance(1.0)
        run.step_snapshot()
        began_s, joules = clock.now_s, 0.0
        for _ in range(20):
            run.advance(log_s)
            snapshot = run.step_snapshot()
            assert snapshot is not None
            joules += snapshot.recent.total_j
        drawn_j = load.energy_j(clock.now_s) - load.energy_j(began_s)
    # Each edge is extrapolated over one update at most, or two updates if the step is not located yet.
    assert joules == pytest.approx(drawn_j, abs=21 * 2 * update_s * (load.high_w - load.low_w) + 1.0)


def test_a_window_without_two_updates_is_merged_with_the_next() -> None:
    clock = VirtualClock(start_s=ORIGIN_S)
    load = Square(100.0, 300.0, 1.0)
    with VirtualTracker(clock, [counter_of(clock, load, 0.1, 0.3)], devices="gpu") as run:
        run.begin("train")
        run.advance(5.0)
        run.step_snapshot()
        spans = []
        for _ in range(40):
            run.advance(0.07)
            run.step()
            snapshot = run.step_snapshot()
            assert snapshot is not None
            spans.append(snapshot.recent)
    told = [span for span in spans if span.seconds]
    assert 10 <= len(told) < 20
    assert all(span.seconds >= 0.1 and span.steps >= 2 for span in told)
    assert sum(span.seconds for span in told) == pytest.approx(40 * 0.07, abs=0.2)


def test_what_was_extrapolated_too_high_is_shown_until_it_is_drawn() -> None:
    """A load falls just after an update: the epoch that ends there shows too much, and nothing later shows less."""
    clock = VirtualClock(start_s=0.0)

    def energy_j(time_s: float) -> float:
        return 700 * min(time_s, 10.11) + 50 * max(0.0, time_s - 10.11)

    with VirtualTracker(clock, [ScriptedCounter(clock, energy_j, refresh_s=0.1)], devices="gpu") as run:
        run.begin("train")
        run.advance(10.18)
        first = run.snapshot()
        run.advance(0.2)
        second = run.snapshot()
        run.advance(1.0)
        third = run.snapshot()
    assert first
    assert second
    assert third
    assert first.total.total_j == pytest.approx(7126, abs=5)
    assert second.total.total_j == pytest.approx(first.total.total_j)
    assert third.total.total_j == pytest.approx(energy_j(11.38), abs=3)
    assert run.summary["total_kwh"] * J_PER_KWH == pytest.approx(energy_j(11.38), abs=3)
