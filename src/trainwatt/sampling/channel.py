"""One device as it is read over time: its series, its next reading, its troubles."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager

from trainwatt.clock import Clock
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Meter, Replaceable
from trainwatt.sampling.energy_series import EnergySeries
from trainwatt.sampling.readers import reader_for
from trainwatt.sampling.refresh_clock import Point

_log = logging.getLogger("trainwatt")

_GIVE_UP_S = 30.0  # a source that fails for as long is dropped
_MAX_CPU_SHARE = 0.002  # a meter is read no more often than costs this part of a core
_COSTS = 10  # the least of so many counts: on a busy machine a single reading may seem to cost anything
_KNOWN = 3  # points from which on a power is known at all,
_SOON_S = 0.05  # and until then read this often, for a first epoch may be short
_STALE_S = 3.0  # a figure that has not come by then is taken as it is known


class Channel:
    """A device and its series, whatever happens to its meter."""

    def __init__(self, meter: Meter) -> None:
        self.device = meter.device
        self.series = EnergySeries()
        self.due_s = self.read_s = -math.inf
        self.gap_s = 0.0
        self.trouble = ""
        self.hangs = False  # inside its driver
        self._meter = meter
        self._reader = reader_for(meter)
        self._failing_since_s: float | None = None
        self._costs_s: deque[float] = deque(maxlen=_COSTS)

    @property
    def current(self) -> bool:
        """Whether a reading at a phase's edge is worth taking."""
        return self._reader.current and self.due_s < math.inf

    @property
    def worth_waking(self) -> bool:
        """Whether such a reading makes a phase's figure better; an estimate is too rough for that, once it is known."""
        return self.current and (self.device.method == "measured" or len(self.series) < _KNOWN)

    def settled_s(self, now_s: float) -> float:
        """Time up to which no figure will change; what is overdue is not waited for."""
        if self.hangs:
            return now_s
        overdue_s = max(_STALE_S, 2 * (self.due_s - self.read_s)) if self.due_s < math.inf else _STALE_S
        return max(self.series.settled_s(self._reader.lookahead), now_s - overdue_s)

    def joules_at(self, time_s: float) -> float:
        """Cumulative joules at a time, from an origin of the device's own; roughly so before its rhythm is known.

        While its driver hangs it is carried on at the last power, though not for long.
        """
        if self.hangs and self.series.last_s is not None:
            time_s = min(time_s, self.series.last_s + _GIVE_UP_S)
        if len(self.series) > 1:
            return self.series.at(time_s)
        return _rough_at(self._reader.provisional, time_s)

    def read(self, clock: Clock, lock: AbstractContextManager[object]) -> None:
        """Take a reading into the series; a failure is noted, never raised."""
        unseen_s = self._reader.unseen_s
        try:
            points = self._reader.read(clock)
        except SourceLostError as error:
            self._replace(error, clock.monotonic(), lock)
        except SourceError as error:
            self._fail(error, clock.monotonic(), lock)
        else:
            with lock:
                for point in points:
                    self.series.add(point.time_s, point.joules)
            if self._failing_since_s is not None:
                self._recover(clock.monotonic() - (self._reader.unseen_s - unseen_s))
        self.read_s = clock.monotonic()
        if complaint := self._reader.complaint():
            self._say(complaint)

    def hang(self, since_s: float) -> None:
        """The driver has not returned from a reading; whoever called it comes back if it does."""
        self.hangs = True
        if self._failing_since_s is None:
            self._failing_since_s = since_s
        self._say("its driver does not answer; the other devices are read on")

    def gap_until(self, now_s: float) -> float:
        """Seconds for which it could not be read, one that goes on included."""
        return (
            self.gap_s
            + self._reader.unseen_s
            + (now_s - self._failing_since_s if self._failing_since_s is not None else 0.0)
        )

    def schedule(self, interval_s: float, cost_s: float) -> None:
        """Set the next reading.

        Args:
            interval_s: at most this long from now, unless reading costs too much.
            cost_s: CPU time that the last reading took.
        """
        self._costs_s.append(cost_s)
        if self.due_s < math.inf:
            soon_s = _SOON_S if 0 < len(self.series) < _KNOWN else interval_s
            self.due_s = self._reader.next_s(self.read_s, min(soon_s, interval_s), min(self._costs_s) / _MAX_CPU_SHARE)

    def _fail(self, error: SourceError, now_s: float, lock: AbstractContextManager[object]) -> None:
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        failing_s = now_s - self._failing_since_s
        if failing_s > _GIVE_UP_S:
            self._replace(error, now_s, lock)
        elif failing_s > _STALE_S and not self.trouble:
            self._say(f"cannot be read, trying again: {error}")

    def _recover(self, now_s: float) -> None:
        if self._failing_since_s is not None:
            self.gap_s += max(0.0, now_s - self._failing_since_s)
            self._failing_since_s = None

    def _replace(self, error: SourceError, now_s: float, lock: AbstractContextManager[object]) -> None:
        """Go on with a lesser source of the same device, or without it."""
        meter = self._meter.fallback() if isinstance(self._meter, Replaceable) else None
        last_s = self.series.last_s
        with lock:
            if meter is None:
                self.series.close(last_s or now_s)
                self._failing_since_s = last_s or now_s
                self.due_s = math.inf
            else:
                missed_j = error.missed_j if isinstance(error, SourceLostError) else 0.0
                # what was missed counts up to now; otherwise the new source's power fills the gap
                origin = Point(now_s if missed_j else last_s or now_s, self.series.total_j + missed_j)
                self.gap_s += self._reader.unseen_s
                self._meter, self._reader, self.device = meter, reader_for(meter, origin), meter.device
                self._recover(now_s)
        self._say(f"{error}; " + (f"going on with {meter.device.source}" if meter else "its energy counts up to here"))

    def _say(self, trouble: str) -> None:
        self.trouble = trouble
        _log.warning("trainwatt: %s: %s", self.device.name, trouble)


def _rough_at(points: Sequence[Point], time_s: float) -> float:
    """Joules at a time by points whose times are not certain: one pair of them may show any power."""
    if not points:
        return 0.0
    rough, (first, *_, last) = EnergySeries(), (points[0], *points)
    for point in points:
        rough.add(point.time_s, point.joules)
    if first.time_s < last.time_s < time_s:
        return last.joules + (last.joules - first.joules) / (last.time_s - first.time_s) * (time_s - last.time_s)
    return rough.at(time_s)
