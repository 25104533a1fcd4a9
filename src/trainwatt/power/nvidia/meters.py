"""Three ways to read a GPU, best first: its energy counter, the driver's buffer of samples, its power now."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from trainwatt.clock import Clock
from trainwatt.errors import SourceError
from trainwatt.power.device import Device, Gauge, Meter, Reading
from trainwatt.power.nvidia.nvml import NvmlBoard
from trainwatt.units import MICRO

_BUFFER = 120  # samples that a driver keeps
_LEAST_POLL_S = 0.04  # less often misses bursts of 50 ms; more often costs a training more than it tells
_CLOCK_SET_S = 0.5  # a wall clock that jumps by more was set; by less, it was steered
_EARLY_S = 0.05
_STALE_S = 3.0  # a buffer without a new sample for as long has stopped
_MODULE_NOTE = "the counter is the whole Grace module's, its CPU and memory included"


class EnergyCounter:
    """A `Counter` over the energy that the board has counted since its driver was loaded.

    Args:
        device: who it is; how it is read is filled in here.
        board: what is read.
        clock: where the time of a lesser meter in its place comes from.

    Raises:
        SourceError: the board has no counter.
    """

    wraps_at_j = None
    max_gap_s = math.inf

    def __init__(self, device: Device, board: NvmlBoard, clock: Clock) -> None:
        self.device = _measured(device, "NVML total-energy counter", board.sensor.error)
        if board.counts_module:
            note = "; ".join(filter(None, (device.note, _MODULE_NOTE)))
            self.device = replace(self.device, covers=("cpu", "ram"), note=note)
        self.refresh_s = board.sensor.refresh_s
        self._bare, self._board, self._clock = device, board, clock
        board.energy_j()

    def joules(self) -> float:
        """See :class:`trainwatt.power.device.Counter`."""
        return self._board.energy_j()

    def watts(self) -> float | None:
        """See :class:`trainwatt.power.device.Counter`."""
        try:
            return self._board.power_w()
        except SourceError:
            return None

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        meter = best_meter(self._bare, self._board, self._clock, _GAUGES)
        return meter if isinstance(meter, Gauge) else None


class PolledPower:
    """A `Gauge` over the power sensor.

    A figure is placed at the centre of its window, and half a renewal earlier, as its age is not known.

    Args:
        device: who it is; how it is read is filled in here.
        board: what is read.
        clock: gives the readings their times.

    Raises:
        SourceError: the board has no power sensor.
    """

    def __init__(self, device: Device, board: NvmlBoard, clock: Clock) -> None:
        sensor = board.sensor
        self.max_gap_s = max(_LEAST_POLL_S, sensor.window_s)
        self.device = _measured(device, "NVML power, polled", sensor.error_when_read_each(self.max_gap_s))
        self._age_s = (sensor.refresh_s + sensor.window_s) / 2
        self._board, self._clock = board, clock
        board.power_w()

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        return (Reading(self._clock.monotonic() - self._age_s, self._board.power_w()),)


class SampleBuffer:
    """A `Gauge` over the readings that the driver takes itself, at each renewal of the sensor.

    It is emptied at each call; no sample counts twice. The driver writes wall-clock times, which are brought to the
    monotonic clock by the two clocks' distance at the call. A buffer that stops is replaced by polling.

    Args:
        device: who it is; how it is read is filled in here.
        board: what is read.
        clock: brings the readings to the monotonic clock.

    Raises:
        SourceError: the board's driver has no such buffer, or nothing recent in it.
    """

    def __init__(self, device: Device, board: NvmlBoard, clock: Clock) -> None:
        sensor = board.sensor
        self.max_gap_s = _BUFFER * sensor.refresh_s / 2
        self.device = _measured(device, "NVML power samples", sensor.error_when_read_each(sensor.refresh_s))
        self._bare, self._board, self._clock = device, board, clock
        now_s = clock.monotonic()
        self._ahead_s = clock.wall() - now_s
        self._last_us = round((now_s + self._ahead_s - self.max_gap_s) / MICRO)
        self._last_s = now_s - self.max_gap_s
        if not any(board.samples(self._last_us)):
            raise SourceError("NVML: the driver's buffer of power samples is empty")

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        now_s = self._synchronise()
        readings = list(self._new(self._board.samples(self._last_us), now_s))
        if not readings and now_s + self._ahead_s - self._last_us * MICRO > _STALE_S:
            readings = self._polled()
        if readings:
            self._last_s = readings[-1].time_s
        return readings

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        meter = best_meter(self._bare, self._board, self._clock, (PolledPower,))
        return meter if isinstance(meter, Gauge) else None

    def _polled(self) -> list[Reading]:
        gauge = self.fallback()
        return [reading for reading in gauge.readings() if reading.time_s > self._last_s] if gauge else []

    def _synchronise(self) -> float:
        """Monotonic seconds now; renames the last sample seen where the wall clock was set since."""
        before_s = self._clock.monotonic()
        wall_s = self._clock.wall()
        now_s = (before_s + self._clock.monotonic()) / 2
        ahead_s = wall_s - now_s
        if abs(ahead_s - self._ahead_s) > _CLOCK_SET_S:
            self._last_us += round((ahead_s - self._ahead_s) / MICRO)
        self._ahead_s = ahead_s
        return now_s

    def _new(self, samples: Iterable[tuple[int, float]], now_s: float) -> Iterable[Reading]:
        """Those not seen before, in order, at the centres of their windows."""
        newest_us = round((now_s + self._ahead_s + _EARLY_S) / MICRO)
        for time_us, watts in sorted(samples):
            if not self._last_us < time_us <= newest_us:
                continue
            self._last_us = time_us
            time_s = time_us * MICRO - self._ahead_s - self._board.sensor.window_s / 2
            if time_s > self._last_s:
                yield Reading(time_s, watts)


_Kind = type[EnergyCounter | SampleBuffer | PolledPower]
_GAUGES: tuple[_Kind, ...] = (SampleBuffer, PolledPower)
LADDER: tuple[_Kind, ...] = (EnergyCounter, *_GAUGES)


def best_meter(device: Device, board: NvmlBoard, clock: Clock, kinds: Sequence[_Kind] = LADDER) -> Meter | SourceError:
    """The first kind of meter that works on a board, or why the last of them does not."""
    for kind in kinds[:-1]:
        with contextlib.suppress(SourceError):
            return kind(device, board, clock)
    try:
        return kinds[-1](device, board, clock)
    except SourceError as error:
        return error


def _measured(device: Device, source: str, error: float) -> Device:
    return replace(device, source=source, low=1 - error, high=1 + error)
