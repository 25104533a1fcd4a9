"""Readers that turn the values of a meter into points of cumulative energy: one for counters, one for gauges."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Protocol

from trainwatt.clock import Clock
from trainwatt.errors import SourceError
from trainwatt.power.device import Counter, Device, Gauge, Meter
from trainwatt.sampling.counter_check import CounterCheck
from trainwatt.sampling.counter_steps import UNKNOWN_S, CounterSteps
from trainwatt.sampling.energy_series import Point
from trainwatt.sampling.refresh_clock import RefreshClock

# A counter with an update interval up to this is treated as always current. The kernel counts CPU time in 10 ms.
_CURRENT_S = 0.015
# Two readings of a gauge that are further apart leave a gap, filled with the mean power of both readings unless it is
# longer than `UNKNOWN_S`.
_UNSEEN_S = 3.0
# A reading of the future, or from so long ago that it cannot be new, has a wrong time.
_EARLY_S = 0.1
_OLDEST_S = 60.0
# No process is blocked for this long: the machine was suspended, even if its clock continued.
_ASLEEP_S = 1800.0
# While it is undecided what a refused value was, a counter is read at least this often.
_DECIDE_S = 0.1
# Evenly spaced readings of a periodic load alias: the error is 67 % at worst, and 15 % with this jitter.
_JITTER = 0.3


class Reader(Protocol):
    """Turns the values of one meter into points."""

    @property
    def device(self) -> Device:
        """Device that is read, with the range of its energy as far as it is known by now."""
        ...

    @property
    def current(self) -> bool:
        """True if a reading gives the energy at the time of the reading itself, without a delay."""
        ...

    @property
    def alive(self) -> bool:
        """False for a counter that has not moved yet, and so may be stuck."""
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

    def warnings(self) -> Sequence[tuple[str, str]]:
        """Return the new warnings for the user, each with its kind; each kind is returned once."""
        ...


class CounterReader:
    """`Reader` of a counter.

    Handles wrap-arounds, resets and misread values, learns the update interval, and checks the counter against a power
    sensor.

    Args:
        meter: The counter.
        origin: Last point of the previous reader of the same device, if any: the first reading has its joules.
    """

    def __init__(self, meter: Counter, origin: Point | None = None) -> None:
        self._meter = meter
        self._refresh = RefreshClock(0.0 if self.current else meter.refresh_s)
        self._check = CounterCheck(meter)
        self._steps = CounterSteps(meter, origin.joules if origin else 0.0)
        self._read_s: float | None = None
        self._warning = ""
        self._longest_s = math.inf

    @property
    def device(self) -> Device:
        """See :class:`Reader`."""
        return self._check.device

    @property
    def current(self) -> bool:
        """See :class:`Reader`."""
        return self._meter.refresh_s <= _CURRENT_S

    @property
    def alive(self) -> bool:
        """See :class:`Reader`."""
        return self._check.moved

    @property
    def lookahead(self) -> int:
        """See :class:`Reader`. A step of the power is located with the help of the two cells after it.

        Between the updates of an irregular counter, which are not known, no step can be located.
        """
        return 2 if self._refresh.knows_updates else 0

    @property
    def provisional(self) -> Sequence[Point]:
        """See :class:`Reader`."""
        return self._refresh.provisional

    @property
    def unseen_s(self) -> float:
        """See :class:`Reader`."""
        return self._steps.unseen_s

    def read(self, clock: Clock) -> Iterable[Point]:
        """See :class:`Reader`."""
        before_s = clock.monotonic()
        raw_j = self._meter.joules()
        after_s = clock.monotonic()
        restarts = self._steps.restarts
        if self._was_asleep(before_s):
            self._steps.skip(before_s, after_s, raw_j)
        counted = self._steps.add(before_s, after_s, raw_j)
        self._read_s = before_s
        if self._steps.restarts != restarts:
            self._check.restart()
        self._warning = self._check.add(counted[-1].time_s, self._steps.counted_j)
        return [point for each in counted for point in self._refresh.observe(*each)]

    def next_s(self, now_s: float, interval_s: float, min_gap_s: float) -> float:
        """See :class:`Reader`."""
        plain_s = now_s + min(interval_s, self._meter.max_gap_s)
        self._longest_s = max(_ASLEEP_S, 3 * interval_s)
        self._steps.fills_s = max(UNKNOWN_S, 3 * interval_s)
        next_s = self._refresh.next_read_s(now_s, min_gap_s) or plain_s
        return min(next_s, now_s + max(min_gap_s, _DECIDE_S)) if self._steps.undecided else next_s

    def warnings(self) -> Sequence[tuple[str, str]]:
        """See :class:`Reader`."""
        warnings = self._steps.warnings()
        if self._warning:
            warnings = (*warnings, ("disagrees", self._warning))
            self._warning = ""
        return warnings

    def _was_asleep(self, time_s: float) -> bool:
        """Return True if the machine was suspended: a model would count on regardless, so no energy is added."""
        since_s = time_s - self._read_s if self._read_s is not None else 0.0
        return self.current and self._meter.device.method == "estimated" and since_s > self._longest_s


class GaugeReader:
    """`Reader` of a gauge, whose readings are integrated by the trapezoidal rule.

    Args:
        meter: The gauge.
        origin: Last point of the previous reader of the same device, if any.
    """

    current = False
    alive = True
    lookahead = 0
    provisional = ()

    def __init__(self, meter: Gauge, origin: Point | None = None) -> None:
        self.unseen_s = 0.0
        self._seldom_s = _UNSEEN_S
        self._meter = meter
        self._last = origin
        self._watts: float | None = None
        # Last reading that was refused, in words, unless one that was believed has followed.
        self._refused: str = ""
        self._said: set[str] = set()
        self._warnings: list[tuple[str, str]] = []
        self._uneven = random.Random(0)  # noqa: S311

    @property
    def device(self) -> Device:
        """See :class:`Reader`."""
        return self._meter.device

    def read(self, clock: Clock) -> Iterable[Point]:
        """See :class:`Reader`. A reading that the device cannot draw is a gap, filled by its neighbours."""
        points, bound_w = [], self.device.bound_w
        for time_s, watts in self._meter.readings():
            ahead_s = time_s - clock.monotonic()
            if not 0 <= watts <= bound_w:
                self._refuse("value", f"{watts:.6g} W, which it cannot draw")
            elif not -_OLDEST_S - self._meter.max_gap_s <= ahead_s <= _EARLY_S:
                self._refuse("time", f"a power of {abs(ahead_s):.3g} s {'from now' if ahead_s > 0 else 'ago'}")
            elif self._last is None or time_s > self._last.time_s:
                points.append(self._add(time_s, watts))
        if not points:
            self._complain(clock.monotonic())
        return points

    def _complain(self, now_s: float) -> None:
        """Raise if the sensor has nothing but refused readings, or nothing for long."""
        if self._refused:
            raise SourceError(f"its power sensor reads {self._refused}")
        if self._last is not None and now_s - self._last.time_s > self._seldom_s + self._meter.max_gap_s:
            why = f"its power sensor has given no new reading for {now_s - self._last.time_s:.0f} s"
            raise SourceError(why, since_s=self._last.time_s)

    def _add(self, time_s: float, watts: float) -> Point:
        since_s = time_s - self._last.time_s if self._last else 0.0
        mean_w = watts if self._watts is None else (watts + self._watts) / 2
        if since_s > self._seldom_s or self._refused:
            self.unseen_s += since_s
        known_s = 0.0 if since_s > max(UNKNOWN_S, 3 * self._seldom_s) else since_s
        self._last = Point(time_s, (self._last.joules if self._last else 0.0) + mean_w * known_s)
        self._watts, self._refused = watts, ""
        return self._last

    def _refuse(self, kind: str, what: str) -> None:
        self._refused = what
        if kind not in self._said:
            self._said.add(kind)
            self._warnings.append((kind, f"its power sensor read {what}; such readings are not used"))

    def next_s(self, now_s: float, interval_s: float, min_gap_s: float) -> float:
        """See :class:`Reader`."""
        gap_s = min(interval_s, self._meter.max_gap_s / (1 + _JITTER))
        self._seldom_s = max(_UNSEEN_S, 3 * gap_s, 3 * min_gap_s)
        return now_s + max(min_gap_s, gap_s * (1 + self._uneven.uniform(-_JITTER, _JITTER)))

    def warnings(self) -> Sequence[tuple[str, str]]:
        """See :class:`Reader`."""
        warnings, self._warnings = self._warnings, []
        return warnings


def reader_for(meter: Meter, origin: Point | None = None) -> Reader:
    """Return the reader for a meter.

    Args:
        meter: The counter or gauge.
        origin: Last point of the previous reader of the same device, if any.
    """
    return CounterReader(meter, origin) if isinstance(meter, Counter) else GaugeReader(meter, origin)
