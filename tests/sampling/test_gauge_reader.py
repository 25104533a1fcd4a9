"""A power sensor is believed as far as its device can draw the power; the rest is filled by its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwatt.power.device import Device, Reading
from trainwatt.testing import VirtualClock, VirtualSampler

GPU = Device("gpu:1", "gpu", "GPU", "measured", "a gauge", max_w=480.0)
SENSELESS_W = [-1.0, -1e9, math.nan, math.inf, -math.inf, 481.0, 1e5, (2.0**32 - 1) / 1e3, 2.0**64]


@dataclass
class MisreadGauge:
    """Sensor of a device that draws 200 W and, between some times since its origin, reads something else."""

    clock: VirtualClock
    faults: list[tuple[float, float, float]]
    max_gap_s: float = 0.1
    device: Device = GPU
    origin_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.origin_s = self.clock.now_s

    def readings(self) -> list[Reading]:
        since_s = self.clock.now_s - self.origin_s
        watts = next((value for at_s, to_s, value in self.faults if at_s <= since_s < to_s), 200.0)
        return [Reading(self.clock.now_s, watts)]


@pytest.mark.parametrize("value_w", SENSELESS_W)
@pytest.mark.parametrize("for_s", [0.05, 2.0, 10.0])
def test_what_the_device_cannot_draw_is_a_gap_with_the_power_around_it(
    value_w: float, for_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    sampler, begin_s = VirtualSampler(clock), clock.now_s
    subscription = sampler.subscribe([MisreadGauge(clock, [(20.0, 20.0 + for_s, value_w), (35.0, 35.1, value_w)])])
    sampler.advance(60.0)
    total_j = subscription.joules_at(clock.now_s)[GPU.id] - subscription.joules_at(begin_s)[GPU.id]
    assert total_j == pytest.approx(200 * 60, rel=1e-9)
    assert for_s - 0.3 <= subscription.gaps_s[GPU.id] <= for_s + 0.8
    assert len([each for each in caplog.records if "which it cannot draw" in each.message]) == 1


def test_a_sensor_that_only_reads_nonsense_is_given_up() -> None:
    clock = VirtualClock()
    sampler, begin_s = VirtualSampler(clock), clock.now_s
    subscription = sampler.subscribe([MisreadGauge(clock, [(20.0, math.inf, -1.0)])])
    sampler.advance(90.0)
    total_j = subscription.joules_at(clock.now_s)[GPU.id] - subscription.joules_at(begin_s)[GPU.id]
    assert total_j == pytest.approx(200 * 20, abs=50)
    assert subscription.gaps_s[GPU.id] == pytest.approx(70, abs=1)
    assert "no energy is counted after this point" in subscription.notes[GPU.id]


FAULT = st.tuples(st.floats(1.0, 50.0), st.floats(0.01, 5.0), st.one_of(st.sampled_from(SENSELESS_W), st.floats()))


@settings(max_examples=100)
@given(faults=st.lists(FAULT, max_size=4))
def test_whatever_a_sensor_reads_the_power_stays_within_what_the_device_can_draw(faults) -> None:
    clock = VirtualClock()
    sampler = VirtualSampler(clock)
    spans = [(at_s, at_s + for_s, value) for at_s, for_s, value in faults]
    subscription = sampler.subscribe([MisreadGauge(clock, spans)])
    begin_s, last_j = clock.now_s, 0.0
    for _ in range(60):
        sampler.advance(1.0)
        joules = subscription.joules_at(subscription.settled_s())[GPU.id] - subscription.joules_at(begin_s)[GPU.id]
        assert last_j - 1e-6 <= joules <= 480 * (clock.now_s - begin_s)
        last_j = joules
    # Only a power that is possible can be wrong.
    believed_s = sum(to_s - at_s + 0.3 for at_s, to_s, value in spans if 0 <= value <= 480)
    assert last_j == pytest.approx(200 * 60, abs=280 * believed_s + 200 * 0.3)
