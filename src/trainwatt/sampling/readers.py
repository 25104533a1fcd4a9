"""Readers that turn the values of a meter into points of cumulative energy: one for counters, one for gauges."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Protocol

from trainwatt.clock import Clock
from trainwatt.errors import SourceLostError
from trainwatt.power.device import Counter, Gauge, Meter
from trainwatt.sampling.energy_series import Point
from trainwatt.sampling.refresh_clock import RefreshClock

# A counter that is stuck for this long while at least this power is drawn is broken.
_FROZEN_S = 3.0
_FROZEN_W = 2.0
# A counter is compared once with the power sensor of its device: over 10 s, with about 40 readings of the sensor.
_CHECK_S = 10.0
_CHECK_READS = 40
_CHECK_FACTOR = 2.0
# A counter with an update interval up to this is treated as always current. The kernel counts CPU time in 10 ms.
_CURRENT_S = 0.015
# A counter that falls has wrapped around, unless that would take more power than this: then it was reset.
_MAX_PLAUSIBLE_W = 20_000.0
# Two readings of a gauge that are further apart leave a gap, filled with the mean power of both readings ...
_UNSEEN_S = 3.0
# ... unless it is longer than this: then no energy is added.
_UNKNOWN_S = 30.0
# No process is blocked for this long: the machine was suspended, even if its clock continued.
_ASLEEP_S = 1800.0
# Evenly spaced readings of a periodic load alias: the error is 67 % at worst, and 15 % with this jitter.
_JITTER = 0.3


class Reader(Protocol):
    """Turns the values of one meter into points."""

    @property
    def current(self) -> bool:
        """True if a reading gives the energy at the time of the reading itself, without a delay."""
        ...

    @property
    def lookahead(self) -> int:
        """Number of later points on which an energy may still depend."""
        ...

    @property
    def provisional(self) -> Sequence[Point]:
        """Approximations of points that `read` will return later."""
        ...

    def read(self, clock: Clock) -> Iterable[Point]:
        """Read the meter, and return the new points, oldest first; may be empty.

        Raises:
            SourceError: The read failed; a later one may succeed.
            SourceLostError: The source is lost for good.
        """
        ...

    @property
    def unseen_s(self) -> float:
        """Total seconds of gaps: times between two readings too far apart to know the power between them."""
        ...

    def next_s(self, now_s: float, interval_s: float, min_gap_s: float) -> float:
        """Return the time of the next reading.

        Args:
            now_s: Present time on the monotonic clock.
            interval_s: Longest gap that the user asked for; a meter may need a shorter one.
            min_gap_s: Shortest gap that keeps the cost of reading within its limit.
        """
        ...

    def warning(self) -> str:
        """Return a warning for the user, once; otherwise an empty string."""
        ...


class CounterReader:
    """`Reader` of a counter.

    Handles wrap-arounds and resets, learns the update interval, and checks the counter once against a power sensor.
    """

    def __init__(self, meter: Counter) -> None:
        self._meter = meter
        self._refresh = RefreshClock(0.0 if self.current else meter.refresh_s)
        self._check = CounterCheck(meter)
        self._raw_j: float | None = None
        self._read_s = 0.0
        self._total_j = 0.0
        self._warning = ""
        self._unseen_s = 0.0
        self._longest_s = math.inf

    @property
    def current(self) -> bool:
        """See :class:`Reader`."""
        return self._meter.refresh_s <= _CURRENT_S

    @property
    def lookahead(self) -> int:
        """See :class:`Reader`. A step of the power is located with the help of the two cells after it."""
        return 0 if self.current else 2

    @property
    def provisional(self) -> Sequence[Point]:
        """See :class:`Reader`."""
        return self._refresh.provisional

    @property
    def unseen_s(self) -> float:
        """See :class:`Reader`."""
        return self._unseen_s

    def read(self, clock: Clock) -> Iterable[Point]:
        """See :class:`Reader`."""
        before_s = clock.monotonic()
        raw_j = self._meter.joules()
        time_s = (before_s + clock.monotonic()) / 2
        self._total_j += self._step_j(raw_j, time_s)
        self._raw_j, self._read_s = raw_j, time_s
        self._warning = self._check.add(time_s, self._total_j) or self._warning
        return self._refresh.observe(time_s, self._total_j)

    def next_s(self, now_s: float, interval_s: float, min_gap_s: float) -> float:
        """See :class:`Reader`."""
        plain_s = now_s + min(interval_s, self._meter.max_gap_s)
        self._longest_s = max(_ASLEEP_S, 3 * interval_s)
        return self._refresh.next_read_s(now_s, min_gap_s) or plain_s

    def warning(self) -> str:
        """See :class:`Reader`."""
        warning, self._warning = self._warning, ""
        return warning

    def _step_j(self, raw_j: float, time_s: float) -> float:
        """Return the joules since the last reading, also across a wrap-around or a reset."""
        if self._raw_j is None:
            return 0.0
        if self._meter.device.method == "estimated" and time_s - self._read_s > self._longest_s:
            # The machine was suspended. A model would count on regardless, so no energy is added.
            self._unseen_s += time_s - self._read_s
            return 0.0
        step_j = raw_j - self._raw_j
        if step_j >= 0:
            return step_j
        since_s = time_s - self._read_s
        wrapped_j = step_j + (self._meter.wraps_at_j or -math.inf)
        if 0 <= wrapped_j <= _MAX_PLAUSIBLE_W * since_s:
            return wrapped_j
        self._warning = "its energy counter was reset; the energy since the last reading is estimated from its power"
        return (self._meter.watts() or 0.0) * since_s


class CounterCheck:
    """Check of a counter against the power sensor of the same device.

    Detects a counter that is stuck, which raises, and one that counts more than the device, such as a whole module,
    which gives one warning after 10 s.
    """

    def __init__(self, meter: Counter) -> None:
        self._meter = meter
        self._changed_s = self._last_j = math.nan
        self._watts: list[float] = []
        self._first: Point | None = None
        self._next_s = -math.inf
        self._uneven = random.Random(0)  # noqa: S311

    def add(self, time_s: float, joules: float) -> str:
        """Add a reading, and return a warning or an empty string.

        Raises:
            SourceLostError: The counter is stuck while power is drawn.
        """
        self._watch(time_s, joules)
        if time_s < self._next_s or (watts := self._meter.watts()) is None:
            return ""
        self._watts.append(watts)
        self._next_s = time_s + _CHECK_S / _CHECK_READS * self._uneven.uniform(0.5, 1.5)
        self._first = self._first or Point(time_s, joules)
        if time_s - self._first.time_s < _CHECK_S:
            return ""
        self._next_s = math.inf
        return self._compare((joules - self._first.joules) / (time_s - self._first.time_s))

    def _watch(self, time_s: float, joules: float) -> None:
        if joules != self._last_j:
            self._changed_s, self._last_j = time_s, joules
        elif time_s - self._changed_s > _FROZEN_S:
            watts = self._meter.watts()
            if watts is not None and watts > _FROZEN_W:
                missed_j = watts * (time_s - self._changed_s)
                raise SourceLostError(f"its energy counter is stuck while {watts:.0f} W are drawn", missed_j)
            self._changed_s = time_s

    def _compare(self, counted_w: float) -> str:
        sensed_w = sum(self._watts) / len(self._watts)
        if sensed_w <= _FROZEN_W or 1 / _CHECK_FACTOR < counted_w / sensed_w < _CHECK_FACTOR:
            return ""
        return f"its energy counter reports {counted_w:.0f} W on average, but its power sensor reports {sensed_w:.0f} W"


class GaugeReader:
    """`Reader` of a gauge, whose readings are integrated by the trapezoidal rule.

    Args:
        meter: The gauge.
        origin: Last point of the previous reader of the same device, if any.
    """

    current = False
    lookahead = 0
    provisional = ()

    def __init__(self, meter: Gauge, origin: Point | None = None) -> None:
        self.unseen_s = 0.0
        self._seldom_s = _UNSEEN_S
        self._meter = meter
        self._last = origin
        self._watts: float | None = None
        self._uneven = random.Random(0)  # noqa: S311

    def read(self, clock: Clock) -> Iterable[Point]:  # noqa: ARG002
        """See :class:`Reader`."""
        points = []
        for time_s, watts in self._meter.readings():
            if self._last is None:
                self._last = Point(time_s, 0.0)
            elif time_s > self._last.time_s:
                mean_w = watts if self._watts is None else (watts + self._watts) / 2
                since_s = time_s - self._last.time_s
                if since_s > self._seldom_s:
                    self.unseen_s += since_s
                known_s = 0.0 if since_s > max(_UNKNOWN_S, 3 * self._seldom_s) else since_s
                self._last = Point(time_s, self._last.joules + mean_w * known_s)
            else:
                continue
            self._watts = watts
            points.append(self._last)
        return points

    def next_s(self, now_s: float, interval_s: float, min_gap_s: float) -> float:
        """See :class:`Reader`."""
        gap_s = min(interval_s, self._meter.max_gap_s / (1 + _JITTER))
        self._seldom_s = max(_UNSEEN_S, 3 * gap_s, 3 * min_gap_s)
        return now_s + max(min_gap_s, gap_s * (1 + self._uneven.uniform(-_JITTER, _JITTER)))

    def warning(self) -> str:
        """See :class:`Reader`."""
        return ""


def reader_for(meter: Meter, origin: Point | None = None) -> Reader:
    """Return the reader for a meter.

    Args:
        meter: The counter or gauge.
        origin: Last point of the previous reader of the same device, if any; a counter needs none.
    """
    return CounterReader(meter) if isinstance(meter, Counter) else GaugeReader(meter, origin)
