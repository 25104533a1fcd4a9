"""Meters whose true energy is known: for what lies above the drivers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from standins.virtual import VirtualClock
from trainwatt.errors import SourceError
from trainwatt.power.device import Counter, Device, Gauge, Reading


@dataclass
class StandInCounter:
    """A counter of known energy, with the quirks of real ones.

    Attributes:
        clock: virtual time.
        true_j: cumulative joules at a time.
        refresh_s, phase_s: the figure is renewed at ``phase_s + n * refresh_s``; 0: always current.
        jitter_s: how far a renewal may come early or late.
        wraps_at_j: where it starts again from 0.
        sensor_w: what the second sensor says, or None.
        fault: an error that reading raises for as long as it is set.
        frozen_s: it stands still from this time on.
        reset_s: it starts again from 0 at this time.
        replacement: what its fallback is.
    """

    clock: VirtualClock
    true_j: Callable[[float], float]
    refresh_s: float = 0.0
    phase_s: float = 0.0
    jitter_s: Callable[[int], float] = lambda _: 0.0
    wraps_at_j: float | None = None
    max_gap_s: float = math.inf
    sensor_w: float | None = None
    fault: SourceError | None = None
    frozen_s: float = math.inf
    reset_s: float = math.inf
    replacement: Gauge | None = None
    device: Device = Device("gpu:GPU-1", "gpu", "Stand-in", "measured", "a counter")
    reads: int = 0

    def joules(self) -> float:
        """See :class:`trainwatt.power.device.Counter`."""
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        time_s = self._renewed_s(min(self.clock.now_s, self.frozen_s))
        joules = self.true_j(time_s) - (self.true_j(self.reset_s) if time_s >= self.reset_s else 0.0)
        return joules % self.wraps_at_j if self.wraps_at_j else joules

    def watts(self) -> float | None:
        """See :class:`trainwatt.power.device.Counter`."""
        return self.sensor_w

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        return self.replacement

    def _renewed_s(self, time_s: float) -> float:
        if self.refresh_s <= 0:
            return time_s
        number = math.floor((time_s - self.phase_s) / self.refresh_s) + 1
        while (renewed_s := self.phase_s + number * self.refresh_s + self.jitter_s(number)) > time_s:
            number -= 1
        return renewed_s


@dataclass
class StandInGauge:
    """A power sensor: the mean power of the time since it was last asked."""

    clock: VirtualClock
    true_j: Callable[[float], float]
    max_gap_s: float = 0.1
    device: Device = Device("gpu:GPU-1", "gpu", "Stand-in", "measured", "a gauge")
    last_s: float | None = None

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        last_s, self.last_s = self.last_s, self.clock.now_s
        if last_s is None or last_s == self.last_s:
            return ()
        return [
            Reading(
                (last_s + self.last_s) / 2, (self.true_j(self.last_s) - self.true_j(last_s)) / (self.last_s - last_s)
            )
        ]


@dataclass
class StandInPower:
    """A power sensor that tells the power of the moment it is asked, and nothing of the time before."""

    clock: VirtualClock
    true_w: float
    max_gap_s: float = 0.1
    device: Device = Device("gpu:GPU-1", "gpu", "Stand-in", "measured", "a gauge")

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        return (Reading(self.clock.now_s, self.true_w),)


_counter: type[Counter] = StandInCounter
_gauge: type[Gauge] = StandInGauge
