"""From what a meter says to points of cumulative joules: one reader for counters, one for gauges."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Protocol

from trainwatt.clock import Clock
from trainwatt.errors import SourceLostError
from trainwatt.power.device import Counter, Gauge, Meter
from trainwatt.sampling.refresh_clock import Point, RefreshClock

_FROZEN_S = 3.0  # a counter that stands still for as long while power is drawn is broken
_FROZEN_W = 2.0
_CHECK_S = 10.0  # a counter is compared with its power sensor over this time, once
_CHECK_READS = 40
_CHECK_FACTOR = 2.0
_CURRENT_S = 0.015  # a figure renewed as often as this is as good as current; the kernel counts CPU time in 10 ms
_MAX_PLAUSIBLE_W = 20_000.0  # a fall that would take more power than this to be a wrap-around is a reset
_UNSEEN_S = 3.0  # between two readings of a gauge: from then on a gap, put in from the readings on both sides,
_UNKNOWN_S = 30.0  # and from then on nothing is put in
_ASLEEP_S = 1800.0  # no process is held up as long: the machine slept, though its clock may have gone on
_JITTER = 0.3  # evenly spaced readings beat with a periodic load: 67 % off at worst, 15 % with this


class Reader(Protocol):
    """Reads one meter."""

    @property
    def current(self) -> bool:
        """Whether a reading is true at the time of the reading, so that one at a phase's edge is worth taking."""
        ...

    @property
    def lookahead(self) -> int:
        """How many later points a figure may still depend on."""
        ...

    @property
    def provisional(self) -> Sequence[Point]:
        """What is known already of points that are still to come."""
        ...

    def read(self, clock: Clock) -> Iterable[Point]:
        """Points known since the last call, oldest first; may be empty.

        Raises:
            SourceError: no figure this time.
            SourceLostError: no figure any more.
        """
        ...

    @property
    def unseen_s(self) -> float:
        """Seconds between two readings so far apart that what happened between them is not known."""
        ...

    def next_s(self, now_s: float, interval_s: float, min_gap_s: float) -> float:
        """When to read next: by the user's interval, what the meter needs, and what a reading may cost."""
        ...

    def complaint(self) -> str:
        """What a person should know, told once; empty otherwise."""
        ...


class CounterReader:
    """A counter: unwrapped, its refreshes found out, and checked against a power sensor once."""

    def __init__(self, meter: Counter) -> None:
        self._meter = meter
        self._refresh = RefreshClock(0.0 if self.current else meter.refresh_s)
        self._check = CounterCheck(meter)
        self._raw_j: float | None = None
        self._read_s = 0.0
        self._total_j = 0.0
        self._complaint = ""
        self._unseen_s = 0.0
        self._longest_s = math.inf

    @property
    def current(self) -> bool:
        """See :class:`Reader`."""
        return self._meter.refresh_s <= _CURRENT_S

    @property
    def lookahead(self) -> int:
        """See :class:`Reader`; a step of power is placed by the two cells after it."""
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
        self._complaint = self._check.add(time_s, self._total_j) or self._complaint
        return self._refresh.observe(time_s, self._total_j)

    def next_s(self, now_s: float, interval_s: float, min_gap_s: float) -> float:
        """See :class:`Reader`."""
        plain_s = now_s + min(interval_s, self._meter.max_gap_s)
        self._longest_s = max(_ASLEEP_S, 3 * interval_s)
        return self._refresh.next_read_s(now_s, min_gap_s) or plain_s

    def complaint(self) -> str:
        """See :class:`Reader`."""
        complaint, self._complaint = self._complaint, ""
        return complaint

    def _step_j(self, raw_j: float, time_s: float) -> float:
        """Joules since the last reading, over a wrap-around or a reset."""
        if self._raw_j is None:
            return 0.0
        if self._meter.device.method == "estimated" and time_s - self._read_s > self._longest_s:
            self._unseen_s += time_s - self._read_s  # a model would go on: nothing is put in
            return 0.0
        step_j = raw_j - self._raw_j
        if step_j >= 0:
            return step_j
        since_s = time_s - self._read_s
        wrapped_j = step_j + (self._meter.wraps_at_j or -math.inf)
        if 0 <= wrapped_j <= _MAX_PLAUSIBLE_W * since_s:
            return wrapped_j
        self._complaint = "its counter was reset; the energy between two readings is put in from its power"
        return (self._meter.watts() or 0.0) * since_s


class CounterCheck:
    """Compares a counter with the power sensor of the same board.

    Some counters stand still, and some count a whole module: the first raises, the second is told once, after the first
    seconds.
    """

    def __init__(self, meter: Counter) -> None:
        self._meter = meter
        self._changed_s = self._last_j = math.nan
        self._watts: list[float] = []
        self._first: Point | None = None
        self._next_s = -math.inf
        self._uneven = random.Random(0)  # noqa: S311  # to avoid aliasing, not to keep a secret

    def add(self, time_s: float, joules: float) -> str:
        """Take a reading; return a complaint, or nothing.

        Raises:
            SourceLostError: the counter stands still while power is drawn.
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
                raise SourceLostError(f"its energy counter stands still while {watts:.0f} W are drawn", missed_j)
            self._changed_s = time_s

    def _compare(self, counted_w: float) -> str:
        sensed_w = sum(self._watts) / len(self._watts)
        if sensed_w <= _FROZEN_W or 1 / _CHECK_FACTOR < counted_w / sensed_w < _CHECK_FACTOR:
            return ""
        return f"its counter says {counted_w:.0f} W on average and its power sensor {sensed_w:.0f} W"


class GaugeReader:
    """A gauge: its readings integrated by the trapezoidal rule.

    Args:
        meter: the gauge.
        origin: where another reader of the same device left off.
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
        self._uneven = random.Random(0)  # noqa: S311  # to avoid aliasing, not to keep a secret

    def read(self, clock: Clock) -> Iterable[Point]:  # noqa: ARG002  # the readings bring their own times
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

    def complaint(self) -> str:
        """See :class:`Reader`."""
        return ""


def reader_for(meter: Meter, origin: Point | None = None) -> Reader:
    """The reader that fits a meter."""
    return CounterReader(meter) if isinstance(meter, Counter) else GaugeReader(meter, origin)
