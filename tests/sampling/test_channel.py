"""A thread that gets no time, as while a model is traced, and a run that ends before its counter's rhythm is learnt."""

from __future__ import annotations

import random
from contextlib import nullcontext

import pytest

from trainwatt.sampling.channel import Channel
from trainwatt.testing import ScriptedCounter, VirtualClock

REFRESH_S = 0.1
SETTLE_S = 0.5  # so long the end of a run waits for its last figures


def wave_j(time_s: float) -> float:
    """180 and 220 W in turn, 0.2 s each."""
    turns, within_s = divmod(time_s, 0.4)
    return turns * 80 + 220 * min(within_s, 0.2) + 180 * max(0.0, within_s - 0.2)


def missed_j(seed: int, seconds: float, stalls_per_s: float, late_s: float) -> float:
    """What is known too much of a run, by the end of which the thread gets time again."""
    random_ = random.Random(seed)
    clock = VirtualClock(start_s=50 + random_.random())
    channel = Channel(ScriptedCounter(clock, wave_j, refresh_s=REFRESH_S, phase_s=random_.uniform(0, REFRESH_S)))
    began_s, end_s = clock.now_s, clock.now_s + seconds
    held_s = random_.choice([0.0, random_.uniform(0, 2)])
    while clock.now_s < end_s + SETTLE_S and channel.settled_s(clock.now_s) < end_s:
        channel.read(clock, nullcontext())
        channel.schedule(1.0, 1e-5)
        due_s = max(channel.due_s, clock.now_s + 1e-4)
        if clock.now_s < end_s:
            due_s += random_.expovariate(1 / late_s) + held_s
            stalled = random_.random() < stalls_per_s * (due_s - clock.now_s)
            due_s, held_s = min(end_s + 5e-3, due_s + stalled * random_.uniform(0.05, 0.6)), 0.0
        clock.now_s = due_s if clock.now_s < end_s else min(due_s, clock.now_s + 0.02)
    return channel.joules_at(end_s) - channel.joules_at(began_s) - (wave_j(end_s) - wave_j(began_s))


@pytest.mark.parametrize("seconds", [0.4, 1.5, 3.5])
@pytest.mark.parametrize(("stalls_per_s", "late_s"), [(0, 1e-3), (2, 1e-3), (2, 5e-3), (5, 5e-3)])
def test_a_thread_that_gets_no_time_costs_hardly_a_joule(seconds: float, stalls_per_s: float, late_s: float) -> None:
    errors_j = sorted(abs(missed_j(seed, seconds, stalls_per_s, late_s)) for seed in range(100))
    assert errors_j[96] < max(0.01 * 200 * seconds, 5.0)  # where the wave was within a stall nobody knows: 4 J
    assert errors_j[-1] < 220 * REFRESH_S


def test_what_is_counted_while_lost_updates_are_learnt_again_is_counted() -> None:
    """A counter whose updates come at odd times from some time on is learnt again for up to 2.5 s."""
    clock = VirtualClock(start_s=50.0)
    uneven = random.Random(3)
    late_s = [uneven.uniform(-0.045, 0.045) for _ in range(997)]
    counter = ScriptedCounter(
        clock,
        lambda time_s: 200 * time_s,
        refresh_s=REFRESH_S,
        jitter_s=lambda number: late_s[number % 997] if number > 700 else 0.0,
    )
    channel = Channel(counter)
    began_s = clock.now_s
    while clock.now_s < 90.0:
        channel.read(clock, nullcontext())
        channel.schedule(1.0, 1e-5)
        clock.now_s = max(channel.due_s, clock.now_s + 1e-4)
        if clock.now_s > began_s + 1.0:
            counted_j = channel.joules_at(clock.now_s) - channel.joules_at(began_s)
            # the age of an update, and that of the first one
            assert counted_j == pytest.approx(200 * (clock.now_s - began_s), abs=3 * 200 * REFRESH_S)
