"""Each meter and each run is a boundary: what one raises, or how long it takes, costs no other; mostly in real time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from trainwatt.clock import SYSTEM_CLOCK
from trainwatt.errors import SourceLostError
from trainwatt.power.device import Device, Found, Reading
from trainwatt.sampling.sampler import Sampler, Subscription
from trainwatt.testing import ScriptedCounter, VirtualClock, VirtualSampler


def device(number: int, source: str = "a counter") -> Device:
    return Device(f"gpu:{number}", "gpu", f"GPU {number}", "measured", source)


class Real:
    """Counter of 100 W in real time, whose reading a test may replace."""

    wraps_at_j = None
    refresh_s = 0.0

    def __init__(self, number: int, read: Callable[[], Any] | None = None, source: str = "a counter") -> None:
        self.device = device(number, source)
        self.max_gap_s: float = math.inf
        self.reads = 0
        self._read = read

    def joules(self) -> Any:
        self.reads += 1
        return self._read() if self._read else 100.0 * SYSTEM_CLOCK.monotonic()

    def watts(self) -> None:
        return None


@contextmanager
def subscribed(sampler: Sampler, *meters: Any, interval_s: float = 0.05) -> Iterator[Subscription]:
    subscription = sampler.subscribe(meters, interval_s=interval_s)
    try:
        yield subscription
    finally:
        subscription.close()


def counted_j(subscription: Subscription, name: str, seconds: float) -> float:
    end_s = SYSTEM_CLOCK.monotonic()
    return subscription.joules_at(end_s)[name] - subscription.joules_at(end_s - seconds)[name]


def failing() -> float:
    return 1 / 0


def test_a_meter_that_raises_is_logged_once_and_the_next_one_is_read(caplog: pytest.LogCaptureFixture) -> None:
    """It was logged four times a second with a traceback, and fifty times a second at the end; no other was read."""
    sampler, bad, good = Sampler(), Real(1, failing), Real(2)
    with subscribed(sampler, bad, good) as subscription:
        time.sleep(1.0)
        subscription.wait_until_settled(SYSTEM_CLOCK.monotonic(), 0.5)
        assert good.reads > 5
        assert counted_j(subscription, "gpu:2", 0.8) == pytest.approx(80, rel=1e-3)
        assert subscription.gaps_s["gpu:1"] > 0.9
        assert "ZeroDivisionError" in subscription.notes["gpu:1"]
    assert [record.getMessage() for record in caplog.records] == [
        "trainwatt: GPU 1: cannot be read, retrying: ZeroDivisionError: division by zero"
    ]


def test_a_run_that_fails_to_record_costs_no_other_run(caplog: pytest.LogCaptureFixture) -> None:
    sampler, ticks = Sampler(), []
    with subscribed(sampler, Real(1)) as first, subscribed(sampler, Real(2)) as second:
        first.on_tick = first.reads_first = failing
        second.on_tick = lambda: ticks.append(1)
        time.sleep(1.2)
    assert len(ticks) >= 3
    assert len([record for record in caplog.records if "ZeroDivisionError" in record.getMessage()]) == 2


@pytest.mark.slow
def test_a_run_whose_disk_hangs_costs_no_other_run_and_no_reading() -> None:
    sampler, stuck, ticks, calls = Sampler(), threading.Event(), [], []

    def hang() -> None:
        calls.append(1)
        stuck.wait(20.0)

    meter = Real(2)
    try:
        with subscribed(sampler, Real(1)) as first, subscribed(sampler, meter) as second:
            first.on_tick = hang
            second.on_tick = lambda: ticks.append(1)
            time.sleep(2.5)
            ticks.clear()
            reads = meter.reads
            time.sleep(1.0)
            assert len(ticks) >= 2
            assert meter.reads - reads >= 5
            assert len(calls) == 1
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 1.0
    finally:
        stuck.set()


@pytest.mark.slow
def test_a_driver_that_hangs_for_several_devices_does_not_hold_up_another_source_for_each() -> None:
    sampler, stuck, hangs = Sampler(), threading.Event(), [False]

    def read() -> float:
        if hangs[0]:
            stuck.wait(30.0)
        return 100.0 * SYSTEM_CLOCK.monotonic()

    meters = [Real(number, read, "a driver") for number in range(4)]
    other = Real(9, source="another driver")
    try:
        with subscribed(sampler, *meters, other) as subscription:
            time.sleep(0.3)
            hangs[0] = True
            time.sleep(2.0)
            reads = other.reads
            time.sleep(0.6)
            assert other.reads > reads
            assert 0 < len([1 for gap_s in subscription.gaps_s.values() if gap_s > 0.5]) <= 4
            assert "gpu:9" not in subscription.gaps_s
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 1.0
    finally:
        stuck.set()


@pytest.mark.parametrize("max_gap_s", [0.0, -1.0, math.nan, -math.inf, "soon"])
def test_a_meter_that_asks_for_nonsense_is_not_read_without_pause(max_gap_s: Any) -> None:
    sampler, meter, good = Sampler(), Real(1), Real(2)
    meter.max_gap_s = max_gap_s
    with subscribed(sampler, meter, good):
        time.sleep(0.5)
    assert meter.reads < 500
    assert good.reads > 3


class Undescribed:
    """Meter of a user's own that does not know its device."""

    max_gap_s = 1.0

    @property
    def device(self) -> Device:
        raise KeyError("serial number")

    def readings(self) -> list[Reading]:
        return []


@pytest.mark.parametrize("meter", [Undescribed(), object(), None, "gpu"])
def test_a_broken_meter_is_left_out(meter: Any, caplog: pytest.LogCaptureFixture) -> None:
    with subscribed(Sampler(), meter, Real(2)) as subscription:
        assert [each.id for each in subscription.devices] == ["gpu:2"]
    assert "its device is not counted" in caplog.text
    found = Found((meter, Real(2))).without_broken()
    assert [each.device.id for each in found.meters] == ["gpu:2"]
    assert [each.warn for each in found.missing] == [True]


@pytest.mark.parametrize("for_s", [5.0, 40.0, 600.0])
def test_a_device_that_is_lost_counts_again_when_it_is_back(for_s: float) -> None:
    clock = VirtualClock()
    sampler, begin_s = VirtualSampler(clock), clock.now_s
    counter = ScriptedCounter(clock, lambda time_s: 100 * time_s, refresh_s=0.1)
    subscription = sampler.subscribe([counter])
    sampler.advance(20.0)
    counter.fault = SourceLostError("fallen off the bus")
    sampler.advance(for_s)
    counter.fault = None
    sampler.advance(100.0)
    total_j = subscription.joules_at(clock.now_s)["gpu:GPU-1"] - subscription.joules_at(begin_s)["gpu:GPU-1"]
    gap_s = subscription.gaps_s["gpu:GPU-1"]
    assert for_s <= gap_s <= for_s + 33
    assert total_j == pytest.approx(100 * (120 + for_s - gap_s), abs=60)
    assert "no energy is counted after this point; is read again" in subscription.notes["gpu:GPU-1"]


def test_a_handler_of_the_log_that_raises_ends_no_thread() -> None:
    class Raising(logging.Handler):
        def emit(self, record: object) -> None:
            raise OSError("no space left on device")

    handler = Raising()
    logger = logging.getLogger("trainwatt")
    logger.addHandler(handler)
    good = Real(2)
    try:
        with subscribed(Sampler(), Real(1, failing), good):
            time.sleep(0.5)
            reads = good.reads
            time.sleep(0.3)
            assert good.reads > reads
    finally:
        logger.removeHandler(handler)
