"""Three kinds of meter of a GPU, best first: energy counter, the driver's buffer of power samples, polled power."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from trainwatt.clock import Clock
from trainwatt.errors import SourceError
from trainwatt.power.device import Device, Gauge, Meter, Reading
from trainwatt.power.nvidia.nvml import NvmlGpu
from trainwatt.power.nvidia.sensor_specs import Sensor
from trainwatt.units import MICRO

# Number of samples that a driver keeps.
_BUFFER = 120
# A longer interval misses bursts of 50 ms; a shorter one costs more time than the accuracy is worth.
_LEAST_POLL_S = 0.04
# If the wall clock jumps by more, it was set; by less, it was adjusted gradually.
_CLOCK_SET_S = 0.5
_EARLY_S = 0.05
# A buffer without a new sample for this long has stopped.
_STALE_S = 3.0
_MODULE_NOTE = "the counter includes the whole Grace module, with its CPU and memory"


class EnergyCounter:
    """`Counter` of the energy since the GPU's driver was loaded.

    Args:
        device: The device, whose source and error are set here.
        gpu: The GPU.
        clock: Source of the time for a fallback meter.

    Raises:
        SourceError: The GPU has no energy counter.
    """

    wraps_at_j = None
    max_gap_s = math.inf

    def __init__(self, device: Device, gpu: NvmlGpu, clock: Clock) -> None:
        self.device = _measured(device, "NVML total-energy counter", gpu.sensor, gpu.sensor.error)
        if gpu.counts_module:
            note = "; ".join(filter(None, (device.note, _MODULE_NOTE)))
            self.device = replace(self.device, covers=("cpu", "ram"), note=note)
        self.refresh_s = gpu.sensor.refresh_s
        self._bare, self._gpu, self._clock = device, gpu, clock
        gpu.energy_j()

    def joules(self) -> float:
        """See :class:`trainwatt.power.device.Counter`."""
        return self._gpu.energy_j()

    def watts(self) -> float | None:
        """See :class:`trainwatt.power.device.Counter`."""
        try:
            return self._gpu.power_w()
        except SourceError:
            return None

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        meter = best_meter(self._bare, self._gpu, self._clock, _GAUGES)
        return meter if isinstance(meter, Gauge) else None


class PolledPower:
    """`Gauge` of the polled power sensor.

    A reading is dated back to the centre of its averaging window, and by half an update interval, as its age is not
    known.

    Args:
        device: The device, whose source and error are set here.
        gpu: The GPU.
        clock: Source of the readings' times.

    Raises:
        SourceError: The GPU has no power sensor.
    """

    def __init__(self, device: Device, gpu: NvmlGpu, clock: Clock) -> None:
        sensor = gpu.sensor
        self.max_gap_s = max(_LEAST_POLL_S, sensor.window_s)
        self.device = _measured(device, "NVML power, polled", sensor, sensor.error_when_read_each(self.max_gap_s))
        self._age_s = (sensor.refresh_s + sensor.window_s) / 2
        self._gpu, self._clock = gpu, clock
        gpu.power_w()

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        return (Reading(self._clock.monotonic() - self._age_s, self._gpu.power_w()),)


class SampleBuffer:
    """`Gauge` of the samples that the driver takes itself, at each update of the sensor.

    Each call returns all new samples; no sample counts twice. The driver records wall-clock times, which are converted
    to the monotonic clock by the difference between the two clocks at the call. If the buffer stops, the sensor is
    polled.

    Args:
        device: The device, whose source and error are set here.
        gpu: The GPU.
        clock: Source of the time; converts the readings' times to the monotonic clock.

    Raises:
        SourceError: The GPU's driver has no such buffer, or no recent samples in it.
    """

    def __init__(self, device: Device, gpu: NvmlGpu, clock: Clock) -> None:
        sensor = gpu.sensor
        self.max_gap_s = _BUFFER * sensor.refresh_s / 2
        self.device = _measured(device, "NVML power samples", sensor, sensor.error_when_read_each(sensor.refresh_s))
        self._bare, self._gpu, self._clock = device, gpu, clock
        now_s = clock.monotonic()
        self._ahead_s = clock.wall() - now_s
        self._last_us = round((now_s + self._ahead_s - self.max_gap_s) / MICRO)
        self._last_s = now_s - self.max_gap_s
        if not any(gpu.samples(self._last_us)):
            raise SourceError("NVML: the driver's buffer of power samples is empty")

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        now_s = self._synchronise()
        readings = list(self._new(self._gpu.samples(self._last_us), now_s))
        if not readings and now_s + self._ahead_s - self._last_us * MICRO > _STALE_S:
            readings = self._polled()
        if readings:
            self._last_s = readings[-1].time_s
        return readings

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        meter = best_meter(self._bare, self._gpu, self._clock, (PolledPower,))
        return meter if isinstance(meter, Gauge) else None

    def _polled(self) -> list[Reading]:
        gauge = self.fallback()
        return [reading for reading in gauge.readings() if reading.time_s > self._last_s] if gauge else []

    def _synchronise(self) -> float:
        """Return the monotonic time; shift the last sample's time if the wall clock has been set since."""
        before_s = self._clock.monotonic()
        wall_s = self._clock.wall()
        now_s = (before_s + self._clock.monotonic()) / 2
        ahead_s = wall_s - now_s
        if abs(ahead_s - self._ahead_s) > _CLOCK_SET_S:
            self._last_us += round((ahead_s - self._ahead_s) / MICRO)
        self._ahead_s = ahead_s
        return now_s

    def _new(self, samples: Iterable[tuple[int, float]], now_s: float) -> Iterable[Reading]:
        """Yield the new samples in order, at the centres of their averaging windows."""
        newest_us = round((now_s + self._ahead_s + _EARLY_S) / MICRO)
        for time_us, watts in sorted(samples):
            if not self._last_us < time_us <= newest_us:
                continue
            self._last_us = time_us
            time_s = time_us * MICRO - self._ahead_s - self._gpu.sensor.window_s / 2
            if time_s > self._last_s:
                yield Reading(time_s, watts)


_Kind = type[EnergyCounter | SampleBuffer | PolledPower]
_GAUGES: tuple[_Kind, ...] = (SampleBuffer, PolledPower)
LADDER: tuple[_Kind, ...] = (EnergyCounter, *_GAUGES)


def best_meter(device: Device, gpu: NvmlGpu, clock: Clock, kinds: Sequence[_Kind] = LADDER) -> Meter | SourceError:
    """Return the best meter of a GPU, or the error of the last kind if none works.

    Args:
        device: The device, without its source.
        gpu: The GPU.
        clock: Source of the time.
        kinds: Kinds of meter to try, best first.
    """
    device = replace(device, max_w=gpu.max_w or device.max_w)
    for kind in kinds[:-1]:
        with contextlib.suppress(SourceError):
            return kind(device, gpu, clock)
    try:
        return kinds[-1](device, gpu, clock)
    except SourceError as error:
        return error


def _measured(device: Device, source: str, sensor: Sensor, error: float) -> Device:
    """Describe a measured device; sensors of one type err alike, and so do the waves of one training on all GPUs."""
    low, high = device.low * (1 - error), device.high * (1 + error)
    return replace(device, source=source, low=low, high=high, cause=device.cause or sensor.cause)
