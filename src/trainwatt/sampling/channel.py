"""One device over time: its energy series, the time of its next reading, its errors.

A channel is the boundary of its meter: whatever a driver, a library or a user's own meter raises or returns costs this
device the time of the failure, and no other device anything.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from trainwatt.clock import Clock
from trainwatt.containment import error_text
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Meter, Replaceable
from trainwatt.sampling.energy_series import EnergySeries, Point
from trainwatt.sampling.readers import Reader, reader_for
from trainwatt.sampling.refresh_learning import MIN_POLL_S

_log = logging.getLogger("trainwatt")

# A source that fails for longer is replaced. If there is no other source, it is tried again, soon at first.
_GIVE_UP_S = 30.0
_TRY_SOON_S, _TRY_AGAIN_S = 1.0, 30.0
# It counts again after this many readings without an error, and the time between two of them.
_TRIALS, _TRIAL_S = 4, 0.25
# The reading rate of a meter is limited so that it uses at most this fraction of a core.
_MAX_CPU_SHARE = 0.002
# The cost of a reading is the minimum over the last 10: on a busy machine, a single measurement of it is unreliable.
_COSTS = 10
# The first epoch may be short: until there are 3 points, which give a power, a meter is read every 0.05 s.
_KNOWN = 3
_SOON_S = 0.05
# If a point is overdue by this long, the energies are final without it.
_STALE_S = 3.0
# An error is quoted up to this many characters, and a device notes as many kinds of failure.
_QUOTED = 200
_MOST_KINDS = 6
# What a meter may raise. `KeyboardInterrupt` is the user's own, if a program reads its meters in its main thread.
_ANYTHING = (Exception, SystemExit)


@dataclass(slots=True)
class _Trial:
    """Attempt to read a lost device again.

    Attributes:
        reader: Its new reader.
        points: Points so far, from the begin of the attempt.
        reads: Number of readings so far, all without an error.
    """

    reader: Reader
    points: list[Point]
    reads: int = 0


class Channel:
    """One device and its energy series, which continues if the meter is replaced.

    Attributes:
        device: The device, with its present source.
        series: Energy over time.
        due_s: Time of the next reading.
        read_s: Time of the last reading, also if that failed.
        gap_s: Seconds without data in gaps that have ended.
        lost: True if no energy is counted because the device has no source left that works. It is tried again seldom.
        unresponsive: True while the driver has not returned from a reading.
    """

    def __init__(self, meter: Meter) -> None:
        self.device = meter.device
        self.series = EnergySeries()
        self.due_s = self.read_s = -math.inf
        self.gap_s = 0.0
        self.lost = self.unresponsive = False
        self._meter = meter
        self._reader = reader_for(meter)
        self._trial: _Trial | None = None
        self._try_again_s = _TRY_SOON_S
        self._failing_since_s: float | None = None
        self._error = ""
        # True if a warning about the present failure has been logged.
        self._warned = False
        # One per kind of failure.
        self._warnings: dict[str, str] = {}
        self._costs_s: deque[float] = deque(maxlen=_COSTS)

    @property
    def warning(self) -> str:
        """Causes of gaps and errors of the device, each kind once; an empty string if there are none."""
        return "; ".join(self._warnings.copy().values())

    @property
    def current(self) -> bool:
        """True if a reading gives the energy at the time of the reading itself."""
        return self._reader.current and not self.lost

    def is_prompt(self, now_s: float) -> bool:
        """Return True if a reading gives the energy up to now, or nearly, and may be taken again by its cost.

        An estimate is too rough to gain from that.
        """
        if self._reader.lookahead or self.device.method != "measured" or self.lost:
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
        overdue_s = max(_STALE_S, 2 * (self.due_s - self.read_s)) if not self.lost else _STALE_S
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
        """Add a reading to the series. Whatever the meter raises is logged, once per kind, never raised."""
        try:
            if self.lost:
                self._try_again(clock, lock)
            else:
                self._read(clock, lock)
        except SourceLostError as error:
            self._replace(error, clock.monotonic(), lock)
        except SourceError as error:
            self._fail(error, clock.monotonic(), lock, patience_s=_STALE_S)
        except _ANYTHING as error:
            _log.debug("trainwatt: %s: error of its meter", self.device.name, exc_info=True)
            failure = SourceError(_quoted(error))
            self._fail(failure, clock.monotonic(), lock, kind=type(error).__name__)
        self.read_s = clock.monotonic()

    def mark_unresponsive(self, since_s: float) -> None:
        """Record that the driver has not returned from the reading that began at ``since_s``."""
        self.unresponsive = True
        if self._failing_since_s is None:
            self._failing_since_s = since_s

    def report_unresponsive(self) -> None:
        """Log once that the driver does not return."""
        self._warn("unresponsive", "its driver is unresponsive; the other devices are still read")

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
        if self.lost:
            trial_s = _TRIAL_S if self._trial and self._trial.reads < _TRIALS else _TRY_SOON_S
            self.due_s = self.read_s + (trial_s if self._trial else self._try_again_s)
            if not self._trial:
                self._try_again_s = min(2 * self._try_again_s, _TRY_AGAIN_S)
        else:
            self.due_s = self.read_s + self._wait_s(interval_s)

    def _wait_s(self, interval_s: float) -> float:
        """Return the seconds until the next reading; not less than a poll's, whatever the meter asks for."""
        soon_s = min(_SOON_S, interval_s) if 0 < len(self.series) < _KNOWN else interval_s
        try:
            wait_s = self._reader.next_s(self.read_s, soon_s, min(self._costs_s) / _MAX_CPU_SHARE) - self.read_s
        except _ANYTHING as error:
            self._warn(type(error).__name__, f"its meter fails: {_quoted(error)}")
            return interval_s
        return max(MIN_POLL_S, wait_s) if math.isfinite(wait_s) else interval_s

    def _read(self, clock: Clock, lock: AbstractContextManager[object]) -> None:
        reader, unseen_s = self._reader, self._reader.unseen_s
        try:
            points = list(reader.read(clock))
        finally:
            for kind, warning in reader.warnings():
                self._warn(kind, warning)
        with lock:
            for point in points:
                self.series.add(point.time_s, point.joules)
        self._recover(clock.monotonic() - (reader.unseen_s - unseen_s))
        self.device = reader.device

    def _try_again(self, clock: Clock, lock: AbstractContextManager[object]) -> None:
        """Read a lost device again, and continue after some readings; what it has drawn until then is not known."""
        trial, self._trial = self._trial, None
        if trial is None:
            origin = Point(clock.monotonic(), self.series.total_j)
            trial = _Trial(reader_for(self._meter, origin), [origin])
        trial.points += trial.reader.read(clock)
        trial.reads += 1
        begin_s = trial.points[0].time_s
        if trial.reads < _TRIALS or not trial.reader.alive:
            # An error would have ended the trial.
            self._trial = trial if clock.monotonic() - begin_s < _TRY_AGAIN_S else None
            return
        with lock:
            self.gap_s += self._reader.unseen_s
            self._reader, self.lost, self._try_again_s = trial.reader, False, _TRY_SOON_S
            self.series.reopen()
            for point in trial.points:
                self.series.add(*point)
        gap_s = begin_s - (self._failing_since_s or begin_s)
        self._recover(begin_s)
        self._warn("back", f"is read again; what it has drawn in {gap_s:.0f} s without a reading is not counted")

    def _fail(
        self,
        error: SourceError,
        now_s: float,
        lock: AbstractContextManager[object],
        *,
        kind: str = "failing",
        patience_s: float = 0.0,
    ) -> None:
        """Retry until the source is given up.

        Args:
            error: The failure.
            now_s: Present time on the monotonic clock.
            lock: The sampler's lock.
            kind: Kind of failure, of which each is logged once.
            patience_s: Seconds of failure that are not worth a warning.
        """
        if self.lost:
            return
        self._error = _quoted(error)
        if self._failing_since_s is None:
            self._failing_since_s = now_s if error.since_s is None else min(now_s, error.since_s)
        failing_s = now_s - self._failing_since_s
        if failing_s > _GIVE_UP_S:
            self._replace(error, now_s, lock)
        elif failing_s >= patience_s and not self._warned:
            self._warn(kind, f"cannot be read, retrying: {self._error}")

    def _recover(self, now_s: float) -> None:
        self._warned = False
        if self._failing_since_s is None:
            return
        gap_s, self._failing_since_s = max(0.0, now_s - self._failing_since_s), None
        self.gap_s += gap_s
        if self._error and not self._warnings:
            # Too short for a line in the log, but the record states the cause of each gap.
            self._warnings["brief"] = f"could not be read for {gap_s:.1f} s: {self._error}"
        self._error = ""

    def _replace(self, error: SourceError, now_s: float, lock: AbstractContextManager[object]) -> None:
        """Continue with the fallback source of the device, or without the device."""
        if self.lost:
            return
        last_s = self.series.last_s
        missed_j = error.missed_j if isinstance(error, SourceLostError) else 0.0
        # Missed joules are known up to now. Otherwise the power of the new source fills the gap.
        origin = Point(now_s if missed_j else last_s or now_s, self.series.total_j + missed_j)
        found = self._fallback(origin)
        with lock:
            if found is None:
                self.series.close(last_s or now_s)
                self._failing_since_s = min(self._failing_since_s or now_s, last_s or now_s)
                self.lost = True
            else:
                self.gap_s += self._reader.unseen_s
                self._meter, self._reader = found
                self.device = self._reader.device
                self._recover(now_s)
        then = f"continuing with {self.device.source}" if found else "no energy is counted after this point"
        self._warn("replaced" if found else "lost", f"{_quoted(error)}; {then}")

    def _fallback(self, origin: Point) -> tuple[Meter, Reader] | None:
        """Return the next best meter of the device and its reader; None if there is none."""
        try:
            meter = self._meter.fallback() if isinstance(self._meter, Replaceable) else None
            return (meter, reader_for(meter, origin)) if meter is not None else None
        except _ANYTHING:
            _log.debug("trainwatt: %s: error of its fallback", self.device.name, exc_info=True)
            return None

    def _warn(self, kind: str, warning: str) -> None:
        """Log the first warning of a kind, and keep it for the record."""
        self._warned = True
        if kind in self._warnings or len(self._warnings) >= _MOST_KINDS:
            return
        self._warnings[kind] = warning
        _log.warning("trainwatt: %s: %s", self.device.name, warning)


def _quoted(error: BaseException) -> str:
    """Return the message of an error in one short line; of an unexpected one also its type."""
    text = " ".join(str(error).split()) if isinstance(error, SourceError) else error_text(error)
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"


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
