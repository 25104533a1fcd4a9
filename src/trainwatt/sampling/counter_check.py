"""Check of an energy counter against the power sensor of the same device."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Counter, Device
from trainwatt.sampling.energy_series import Point

# A counter that is stuck for this long while at least this power is drawn is broken.
_FROZEN_S = 3.0
_FROZEN_W = 2.0
# Without a sensor, one that has moved this often is stuck after this multiple of its slowest move: every device draws
# some power.
_MOVES = 5
_SLOWEST = 5.0
# A sensor averages over at most a second: readings closer together are not independent.
_INDEPENDENT_S = 1.0
_LEAST_READINGS = 10
# A reading above this multiple of what the device can draw is no sign of a sensor that reads too high.
_SENSELESS = 2.0
# Standard errors of the sensor's mean that are allowed for.
_SIGMAS = 3.0
# A smaller disagreement is not reported, whatever the stated accuracies.
_LEAST = 0.15


class _Stage(NamedTuple):
    """Comparison over some time, with readings of the sensor at some mean spacing."""

    seconds: float
    spacing_s: float


# The longer the comparison, the smaller the error of the sensor's mean: a load that alternates between 60 and 300 W
# allows a disagreement of 75 % after 10 s, and of 18 % after 20 min.
_STAGES = (_Stage(10.0, 0.25), _Stage(80.0, 1.0), _Stage(320.0, 1.0), _Stage(1280.0, 1.0))


class CounterCheck:
    """Check of a counter against the power sensor of its device.

    Detects a counter that is stuck, with or without a sensor, which raises; and one that disagrees with the sensor by
    more than both accuracies and the sampling of the sensor allow, which gives one warning, and widens the device's
    range so that it includes the sensor's energy.

    Args:
        meter: The counter.
    """

    def __init__(self, meter: Counter) -> None:
        self._meter = meter
        self._changed_s = self._last_j = math.nan
        self._moves = 0
        self._slowest_s = 0.0
        self._watts: list[float] = []
        self._first: Point | None = None
        self._next_s = -math.inf
        self._stages: Iterator[_Stage] = iter(_STAGES)
        self._stage: _Stage | None = next(self._stages)
        self._uneven = random.Random(0)  # noqa: S311
        # Ratio of the sensor's energy to the counter's in the last and longest comparison in which they disagreed.
        self._ratio: float | None = None
        self._device: Device | None = None

    @property
    def device(self) -> Device:
        """Device of the counter, its range wide enough for the sensor's energy if the two disagree."""
        if self._ratio is None:
            return self._meter.device
        if self._device is None:
            device, ratio = self._meter.device, self._ratio
            low, high = device.low * min(1.0, ratio), device.high * max(1.0, ratio)
            self._device = replace(device, low=low, high=high)
        return self._device

    @property
    def moved(self) -> bool:
        """True if the counter has shown more than one value; an estimate may well stand still."""
        return self._moves > 1 or self._meter.device.method == "estimated"

    def add(self, time_s: float, joules: float) -> str:
        """Add a reading, and return a warning or an empty string.

        Raises:
            SourceLostError: The counter is stuck while power is drawn.
            SourceError: The counter is stuck, and there is no sensor.
        """
        self._watch(time_s, joules)
        if self._stage is None or time_s < self._next_s or (watts := self._sensed_w()) is None:
            return ""
        self._watts.append(watts)
        self._next_s = time_s + self._stage.spacing_s * self._uneven.uniform(0.5, 1.5)
        self._first = self._first or Point(time_s, joules)
        seconds = time_s - self._first.time_s
        if seconds < self._stage.seconds or len(self._watts) < _LEAST_READINGS:
            return ""
        warning = self._compare((joules - self._first.joules) / seconds, seconds)
        self._stage = next(self._stages, None)
        self.restart()
        return warning

    def restart(self) -> None:
        """Begin the present comparison again, as the counter has a new origin."""
        self._watts, self._first = [], None

    def _sensed_w(self) -> float | None:
        """Read the sensor; None if there is none or if its reading makes no sense."""
        try:
            watts = self._meter.watts()
            return watts if watts is not None and 0 <= watts <= _SENSELESS * self._meter.device.bound_w else None
        # The sensor only checks the counter.
        except Exception:  # noqa: BLE001
            return None

    def _watch(self, time_s: float, joules: float) -> None:
        if joules != self._last_j:
            if self._moves:
                self._slowest_s = max(self._slowest_s, min(time_s - self._changed_s, _FROZEN_S))
            self._moves += 1
            self._changed_s, self._last_j = time_s, joules
        elif time_s - self._changed_s > _FROZEN_S:
            self._judge_frozen(time_s)

    def _judge_frozen(self, time_s: float) -> None:
        frozen_s = time_s - self._changed_s
        watts = self._sensed_w()
        if watts is not None:
            if watts > _FROZEN_W:
                missed_j = min(watts, self._meter.device.bound_w) * frozen_s
                raise SourceLostError(f"its energy counter is stuck while {watts:.0f} W are drawn", missed_j)
            self._changed_s = time_s
        elif self._has_moved_often and frozen_s > max(_FROZEN_S, _SLOWEST * self._slowest_s):
            raise SourceError("its energy counter is stuck", since_s=self._changed_s)

    @property
    def _has_moved_often(self) -> bool:
        return self._meter.device.method == "measured" and self._moves >= _MOVES

    def _compare(self, counted_w: float, seconds: float) -> str:
        sensed_w = statistics.fmean(self._watts)
        # The counter of a module includes more than the sensor's GPU.
        if (
            min(sensed_w, counted_w) <= 0
            or sensed_w <= _FROZEN_W
            or (self._meter.device.covers and sensed_w < counted_w)
        ):
            return ""
        if max(counted_w / sensed_w, sensed_w / counted_w) <= 1 + self._allowed(sensed_w, seconds):
            return ""
        told = self._ratio is not None
        self._ratio, self._device = sensed_w / counted_w, None
        if told:
            return ""
        return (
            f"its energy counter reports {counted_w:.0f} W on average, but its power sensor reports {sensed_w:.0f} W; "
            "the range of its energy includes both"
        )

    def _allowed(self, sensed_w: float, seconds: float) -> float:
        """Return the relative disagreement that is explained by both accuracies and the sampling of the sensor.

        The sensor, from which the counter is derived, is taken to be as accurate as the counter.
        """
        independent = min(len(self._watts), seconds / _INDEPENDENT_S)
        sampling = statistics.stdev(self._watts) / math.sqrt(independent) / sensed_w
        device = self._meter.device
        return max(_LEAST, 2 * max(device.high - 1, 1 - device.low) + _SIGMAS * sampling)
