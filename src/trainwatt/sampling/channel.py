"""One device over time: its energy series, the time of its next reading, its errors."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager

from trainwatt.clock import Clock
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Meter, Replaceable
from trainwatt.sampling.energy_series import EnergySeries, Point
from trainwatt.sampling.readers import reader_for

_log = logging.getLogger("trainwatt")

# A source that fails for longer is dropped.
_GIVE_UP_S = 30.0
# The reading rate of a meter is limited so that it uses at most this fraction of a core.
_MAX_CPU_SHARE = 0.002
# The cost of a reading is the minimum over the last 10: on a busy machine, a single measurement of it is unreliable.
_COSTS = 10
# The first epoch may be short: until there are 3 points, which give a power, a meter is read every 0.05 s.
_KNOWN = 3
_SOON_S = 0.05
# If a point is overdue by this long, the energies are final without it.
_STALE_S = 3.0


class Channel:
    """One device and its energy series, which continues if the meter is replaced.

    Attributes:
        device: The device, with its present source.
        series: Energy over time.
        due_s: Time of the next reading; ``math.inf`` if the device is lost.
        read_s: Time of the last reading.
        gap_s: Seconds without data in gaps that have ended.
        warning: Last warning about the device, or an empty string.
        unresponsive: True while the driver has not returned from a reading.
    """

    def __init__(self, meter: Meter) -> None:
        self.device = meter.device
        self.series = EnergySeries()
        self.due_s = self.read_s = -math.inf
        self.gap_s = 0.0
        self.warning = ""
        self.unresponsive = False
        self._meter = meter
        self._reader = reader_for(meter)
        self._failing_since_s: float | None = None
        self._costs_s: deque[float] = deque(maxlen=_COSTS)

    @property
    def current(self) -> bool:
        """True if a reading gives the energy at the time of the reading itself."""
        return self._reader.current and self.due_s < math.inf

    def is_prompt(self, now_s: float) -> bool:
        """Return True if a reading gives the energy up to now, or nearly, and may be taken again by its cost.

        An estimate is too rough to gain from that.
        """
        if self._reader.lookahead or self.device.method != "measured" or self.due_s == math.inf:
            return False
        return now_s >= self.read_s + min(self._costs_s, default=0.0) / _MAX_CPU_SHARE

    @property
    def worth_waking(self) -> bool:
        """True if a reading at the boundary of a phase makes the phase's energy more accurate.

        An estimate is too rough to gain from that, except for its first points.
        """
        return self.current and (self.device.method == "measured" or len(self.series) < _KNOWN)

    def settled_s(self, now_s: float) -> float:
        """Return the time up to which energies are final. Overdue points are not waited for."""
        if self.unresponsive:
            return now_s
        overdue_s = max(_STALE_S, 2 * (self.due_s - self.read_s)) if self.due_s < math.inf else _STALE_S
        return max(self.series.settled_s(self._reader.lookahead), now_s - overdue_s)

    def joules_at(self, time_s: float) -> float:
        """Return the cumulative joules at a time, from an arbitrary origin.

        The energy is approximate until the update interval of the counter is known. While the driver is unresponsive,
        the last power is extrapolated for up to 30 s.
        """
        if self.unresponsive and self.series.last_s is not None:
            time_s = min(time_s, self.series.last_s + _GIVE_UP_S)
        last_s = self.series.last_s
        if len(self.series) < 2 or last_s is None:
            return _approximate_at(self._reader.provisional, time_s)
        if time_s > last_s and (later := [point for point in self._reader.provisional if point.time_s > last_s]):
            # The updates were lost, and are being learnt again: what has been counted meanwhile is counted.
            return max(self.series.total_j, _approximate_at([Point(last_s, self.series.total_j), *later], time_s))
        return self.series.at(time_s)

    def read(self, clock: Clock, lock: AbstractContextManager[object]) -> None:
        """Add a reading to the series. An error of the source is logged, never raised."""
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
        self.device = self._reader.device
        if warning := self._reader.warning():
            self._warn(warning)

    def mark_unresponsive(self, since_s: float) -> None:
        """Record that the driver has not returned from the reading that began at ``since_s``."""
        self.unresponsive = True
        if self._failing_since_s is None:
            self._failing_since_s = since_s
        self._warn("its driver is unresponsive; the other devices are still read")

    def gap_until(self, now_s: float) -> float:
        """Return the seconds for which the device could not be read, up to ``now_s``."""
        return (
            self.gap_s
            + self._reader.unseen_s
            + (now_s - self._failing_since_s if self._failing_since_s is not None else 0.0)
        )

    def schedule(self, interval_s: float, cost_s: float) -> None:
        """Set the time of the next reading.

        Args:
            interval_s: Longest time until then, unless readings are too expensive.
            cost_s: CPU seconds that the last reading used.
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
        elif failing_s > _STALE_S and not self.warning:
            self._warn(f"cannot be read, retrying: {error}")

    def _recover(self, now_s: float) -> None:
        if self._failing_since_s is not None:
            self.gap_s += max(0.0, now_s - self._failing_since_s)
            self._failing_since_s = None

    def _replace(self, error: SourceError, now_s: float, lock: AbstractContextManager[object]) -> None:
        """Continue with the fallback source of the device, or without the device."""
        meter = self._meter.fallback() if isinstance(self._meter, Replaceable) else None
        last_s = self.series.last_s
        with lock:
            if meter is None:
                self.series.close(last_s or now_s)
                self._failing_since_s = last_s or now_s
                self.due_s = math.inf
            else:
                missed_j = error.missed_j if isinstance(error, SourceLostError) else 0.0
                # Missed joules are known up to now. Otherwise the power of the new source fills the gap.
                origin = Point(now_s if missed_j else last_s or now_s, self.series.total_j + missed_j)
                self.gap_s += self._reader.unseen_s
                self._meter, self._reader, self.device = meter, reader_for(meter, origin), meter.device
                self._recover(now_s)
        self._warn(
            f"{error}; "
            + (f"continuing with {meter.device.source}" if meter else "no energy is counted after this point")
        )

    def _warn(self, warning: str) -> None:
        self.warning = warning
        _log.warning("trainwatt: %s: %s", self.device.name, warning)


def _approximate_at(points: Sequence[Point], time_s: float) -> float:
    """Return the joules at a time from points at uncertain times.

    After the last point the mean power of all is used, as the power between two of them may be far off.
    """
    if not points:
        return 0.0
    rough, (first, *_, last) = EnergySeries(), (points[0], *points)
    for point in points:
        rough.add(point.time_s, point.joules)
    if first.time_s < last.time_s < time_s:
        return last.joules + (last.joules - first.joules) / (last.time_s - first.time_s) * (time_s - last.time_s)
    return rough.at(time_s)
