"""Meters of known energy. Each stands for one device; give every meter a device of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import mul

from trainwatt.errors import SourceError
from trainwatt.power.device import Counter, Device, Gauge, Reading
from trainwatt.testing.virtual_clock import VirtualClock

_COUNTED = Device("gpu:GPU-1", "gpu", "Virtual GPU", "measured", "a counter")
_GAUGED = Device("gpu:GPU-1", "gpu", "Virtual GPU", "measured", "a gauge")


def _at_once(number: int) -> float:  # noqa: ARG001  # of any reading
    return 0.0


def _as_it_is(time_s: float, joules: float) -> float:  # noqa: ARG001  # at any time
    return joules


@dataclass
class ScriptedCounter:
    """Energy counter that follows a function of time, with the quirks of real counters.

    >>> clock = VirtualClock(start_s=0.0)
    >>> counter = ScriptedCounter(clock, lambda time_s: 300.0 * time_s)
    >>> clock.advance(10.0)
    >>> counter.joules()
    3000.0

    Attributes:
        clock: virtual time.
        energy_j: cumulative joules at a time of the monotonic clock.
        refresh_s, phase_s: the value is updated at ``phase_s + n * refresh_s``; if 0, it is always current.
        jitter_s: seconds by which the n-th update is late; negative if it is early.
        wraps_at_j: the counter restarts from 0 after this many joules; None: it does not wrap.
        max_gap_s: longest interval between two readings in which no wrap-around is missed.
        sensor_w: watts of a second sensor, to check the counter by; None: there is no such sensor.
        fault: error that every reading raises; set it to None to repair the counter.
        frozen_s: the counter is stuck from this time on.
        reset_s: the counter restarts from 0 at this time.
        misread: returns what is read instead of a value, from the time of the monotonic clock and the value.
        replacement: meter of the same device to use if this one proves wrong; None: there is none.
        device: the device that is read. More than its `Device.bound_w` is refused as misread: 2 kW for a GPU, unless
            its ``max_w`` says otherwise.
        reads: number of readings so far.
    """

    clock: VirtualClock
    energy_j: Callable[[float], float]
    refresh_s: float = 0.0
    phase_s: float = 0.0
    jitter_s: Callable[[int], float] = _at_once
    wraps_at_j: float | None = None
    max_gap_s: float = math.inf
    sensor_w: float | None = None
    fault: SourceError | None = None
    frozen_s: float = math.inf
    reset_s: float = math.inf
    misread: Callable[[float, float], float] = _as_it_is
    replacement: Gauge | None = None
    device: Device = _COUNTED
    reads: int = 0

    def joules(self) -> float:
        """See :class:`trainwatt.power.device.Counter`."""
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        time_s = self._updated_s(min(self.clock.now_s, self.frozen_s))
        joules = self.energy_j(time_s) - (self.energy_j(self.reset_s) if time_s >= self.reset_s else 0.0)
        return self.misread(self.clock.now_s, joules % self.wraps_at_j if self.wraps_at_j else joules)

    def watts(self) -> float | None:
        """See :class:`trainwatt.power.device.Counter`."""
        return self.sensor_w

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        return self.replacement

    def _updated_s(self, time_s: float) -> float:
        """Return the time of the last update before a time."""
        if self.refresh_s <= 0:
            return time_s
        number = math.floor((time_s - self.phase_s) / self.refresh_s) + 1
        while (updated_s := self.phase_s + number * self.refresh_s + self.jitter_s(number)) > time_s:
            number -= 1
        return updated_s


class ConstantCounter(ScriptedCounter):
    """Energy counter of a device that always draws the same power.

    Args:
        clock: virtual time.
        watts: power of the device.
        device: the device; by default a GPU.
    """

    def __init__(self, clock: VirtualClock, watts: float, *, device: Device = _COUNTED) -> None:
        super().__init__(clock, partial(mul, watts), device=_able(device, watts))


@dataclass
class ScriptedGauge:
    """Power sensor without a counter: each reading is the mean power since the previous one.

    Attributes:
        clock: virtual time.
        energy_j: cumulative joules at a time of the monotonic clock.
        max_gap_s: longest interval between two readings in which none is missed.
        device: the device that is read.
    """

    clock: VirtualClock
    energy_j: Callable[[float], float]
    max_gap_s: float = 0.1
    device: Device = _GAUGED
    _last_s: float | None = None

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        last_s, self._last_s = self._last_s, self.clock.now_s
        if last_s is None or last_s == self._last_s:
            return ()
        joules = self.energy_j(self._last_s) - self.energy_j(last_s)
        return [Reading((last_s + self._last_s) / 2, joules / (self._last_s - last_s))]


@dataclass
class ConstantGauge:
    """Power sensor without a counter that always reads the same power, valid at the moment of reading.

    Attributes:
        clock: virtual time.
        watts: power of the device.
        max_gap_s: longest interval between two readings in which none is missed.
        device: the device that is read.
    """

    clock: VirtualClock
    watts: float
    max_gap_s: float = 0.1
    device: Device = _GAUGED

    def __post_init__(self) -> None:
        self.device = _able(self.device, self.watts)

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        return (Reading(self.clock.now_s, self.watts),)


def _able(device: Device, watts: float) -> Device:
    """Return the device with a bound that allows a power; an unusual power is no mistake of its meter."""
    return replace(device, max_w=watts) if device.max_w is None and watts > device.bound_w else device


_counters: tuple[type[Counter], ...] = (ScriptedCounter, ConstantCounter)
_gauges: tuple[type[Gauge], ...] = (ScriptedGauge, ConstantGauge)
