"""Joules between the readings of an energy counter, which may wrap around, be reset, or be misread.

A counter is believed as far as its device can draw the power. A value out of these bounds is refused until the next
readings decide what it was:

- If the counter returns to its earlier values, it was misread. Nothing is lost, as the counter has continued meanwhile.
- If the new values go on by themselves, the counter was reset. It continues from its new origin, and the time between
  is a gap, filled with the power before and after it.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainwatt.errors import SourceError
from trainwatt.power.device import Counter
from trainwatt.sampling.energy_series import Point

# A longer gap is not filled: the power within it is not known.
UNKNOWN_S = 30.0

# Resolution of the coarsest counters; a value may also fall by that much.
_RESOLUTION_J = 1.0
# The update interval of a counter is known approximately, and a reading takes time.
_SLACK_S = 0.01
# Earlier values to which a misread counter may return, and the shortest time between two of them.
_VALUES = 5
_APART_S = 0.5
# A wrap-around that takes more than this multiple of the highest power so far is doubted, unless it is short.
_DOUBT = 2.0
_SHORT_S = 0.2
# It returns within these seconds, or this multiple of the time between two readings ...
_RETURNS_S, _RETURNS = 1.5, 2.5
# ... and has counted the usual power since, within this factor.
_IN_LINE = 2.0
# Readings and seconds from which a new origin is recognised; longer for a counter that is updated slowly.
_SUSPECTS = 3
_SETTLE_S = 0.3
_MAX_SUSPECTS = 1000


class _Reading(NamedTuple):
    """Raw value, with the times before and after reading it."""

    before_s: float
    after_s: float
    raw_j: float

    @property
    def time_s(self) -> float:
        return (self.before_s + self.after_s) / 2


@dataclass(frozen=True, slots=True)
class _Value:
    """Value that the counter has had.

    Attributes:
        raw_j: The value.
        total_j: Cumulative joules that it stands for.
        since_s: Earliest time at which the counter may have taken it.
        seen_s: Time of its first reading.
    """

    raw_j: float
    total_j: float
    since_s: float
    seen_s: float


class _Step(NamedTuple):
    """Joules from a value to a reading.

    Attributes:
        joules: Joules between them.
        certain: False if the counter may have wrapped around more or less often.
    """

    joules: float
    certain: bool = True


class CounterSteps:
    """Cumulative joules from the raw values of a counter.

    Args:
        meter: The counter; only its properties are used. The bound of its device's power may change.
        origin_j: Cumulative joules at the first reading.

    Attributes:
        counted_j: Cumulative joules, from an arbitrary origin. They fall if a misread value was believed at first; the
            points never do.
        unseen_s: Total seconds of gaps.
        fills_s: Longest gap that is filled.
        restarts: Number of times that the counter has continued from a new origin.
    """

    def __init__(self, meter: Counter, origin_j: float = 0.0) -> None:
        self.counted_j = origin_j
        self.unseen_s = 0.0
        self.fills_s = UNKNOWN_S
        self.restarts = 0
        self._meter = meter
        self._measured = meter.device.method == "measured"
        self._wraps_at_j = meter.wraps_at_j
        self._slack_s = 2 * meter.refresh_s + _SLACK_S
        self._settle_s = max(_SETTLE_S, 5 * meter.refresh_s)
        self._point_j = origin_j
        self._last: _Value | None = None
        self._read: _Reading | None = None
        self._values: deque[_Value] = deque(maxlen=_VALUES)
        self._peak_w = 0.0
        self._suspects: list[_Reading] = []
        self._said: set[str] = set()
        self._warnings: list[tuple[str, str]] = []

    @property
    def _bound_w(self) -> float:
        return self._meter.device.bound_w

    @property
    def undecided(self) -> bool:
        """True if values have been refused and the next readings decide what they were."""
        return bool(self._suspects)

    def warnings(self) -> Sequence[tuple[str, str]]:
        """Return the new warnings and their kinds, each kind once."""
        if not self._warnings:
            return ()
        warnings, self._warnings = self._warnings, []
        return warnings

    def add(self, before_s: float, after_s: float, raw_j: float) -> Sequence[Point]:
        """Add a reading, and return the points that are certain now, oldest first.

        Args:
            before_s: Time before the counter was read.
            after_s: Time after it was read.
            raw_j: Its value.

        Raises:
            SourceError: The counter cannot have counted this; the next readings decide what it was.
        """
        reading = self._checked(before_s, after_s, raw_j)
        if self._last is None:
            return (self._set(reading, self.counted_j),)
        found = None if self._repeats(reading) else self._continued(self._last, reading)
        if found is None:
            return self._suspect(self._last, reading)
        value, step = found
        if self._suspects:
            self._warn_misread(self._suspects[-1].raw_j)
            self._suspects = []
        if not step.certain:
            self._warn("rare", "its energy counter was not read for so long that it may have wrapped around unseen")
            self.unseen_s += reading.time_s - value.seen_s
        return (self._set(reading, value.total_j + step.joules),)

    def skip(self, before_s: float, after_s: float, raw_j: float) -> None:
        """Continue from a reading without the joules since the last one, which are not known.

        Raises:
            SourceError: It is no reading of a counter.
        """
        reading = self._checked(before_s, after_s, raw_j)
        if self._read is not None:
            self.unseen_s += reading.time_s - self._read.time_s
        self._values.clear()
        self._suspects = []
        self._set(reading, self.counted_j)

    def _checked(self, before_s: float, after_s: float, raw_j: float) -> _Reading:
        """Return a reading if it can be one of a counter."""
        if not (math.isfinite(raw_j) and raw_j >= 0):
            self._warn_misread(raw_j)
            raise SourceError(f"its energy counter reads {raw_j:g} J")
        if self._read is not None and after_s < self._read.before_s:
            raise SourceError(f"the clock of its readings went back by {self._read.before_s - after_s:.3g} s")
        return _Reading(before_s, after_s, raw_j)

    def _repeats(self, reading: _Reading) -> bool:
        """Return True for a refused value that does not move: time alone does not make it possible."""
        return self._measured and bool(self._suspects) and self._suspects[-1].raw_j == reading.raw_j

    def _continued(self, last: _Value, reading: _Reading) -> tuple[_Value, _Step] | None:
        """Return the value from which the counter has continued to a reading, and the step from it; None if none."""
        if step := self._step(last, reading, self._peak_w):
            return last, step
        # If the last reading was wrong within the bounds, the counter continues from a value shortly before it.
        gap_s = reading.time_s - self._read.time_s if self._read else 0.0
        for number in range(len(self._values) - 1, 0, -1):
            value, first = self._values[number], self._values[0]
            if reading.time_s - value.seen_s > max(_RETURNS_S, _RETURNS * gap_s):
                break
            step = self._step(value, reading, self._peak_w) if reading.raw_j >= value.raw_j else None
            usual_w = (value.total_j - first.total_j) / (value.seen_s - first.seen_s)
            usual_j = usual_w * (reading.time_s - value.seen_s)
            if step and usual_j / _IN_LINE <= step.joules + _RESOLUTION_J <= _IN_LINE * usual_j + 2 * _RESOLUTION_J:
                self._warn_misread(last.raw_j)
                while self._values[-1] is not value:
                    self._values.pop()
                return value, step
        return None

    def _step(self, value: _Value, reading: _Reading, peak_w: float) -> _Step | None:
        """Return the step from a value to a reading; None if the device cannot have drawn that much.

        Args:
            value: Value of the counter.
            reading: A later reading.
            peak_w: Highest power so far, by which a wrap-around is told from a reset; 0 if unknown.
        """
        since_s = reading.after_s - value.since_s
        allowed_j = self._bound_w * since_s + _RESOLUTION_J
        step_j = reading.raw_j - value.raw_j
        if -_RESOLUTION_J <= step_j <= allowed_j:
            return self._of_several(value, step_j, allowed_j, since_s)
        if self._wraps_at_j is None or step_j >= 0 or reading.raw_j > self._wraps_at_j:
            return None
        wrapped_j = step_j + self._wraps_at_j
        usual_j = max(_DOUBT * peak_w * since_s, self._bound_w * _SHORT_S) if peak_w else math.inf
        if not 0 <= wrapped_j <= min(allowed_j, usual_j):
            return None
        return self._of_several(value, wrapped_j, allowed_j, since_s)

    def _of_several(self, value: _Value, step_j: float, allowed_j: float, since_s: float) -> _Step:
        """Add whole turns of the counter if it may have wrapped around more often: as many as its power suggests."""
        wraps_at_j = self._wraps_at_j
        if wraps_at_j is None or not math.isfinite(allowed_j) or step_j + wraps_at_j > allowed_j:
            return _Step(step_j)
        turns = round(((self._power_w(value) or 0.0) * since_s - step_j) / wraps_at_j)
        return _Step(step_j + wraps_at_j * max(0, min(turns, math.floor((allowed_j - step_j) / wraps_at_j))), False)

    def _power_w(self, value: _Value) -> float | None:
        """Return the power in the seconds before a value; None if it is not known."""
        first = self._values[0] if self._values else value
        seconds = value.seen_s - first.seen_s
        return (value.total_j - first.total_j) / seconds if seconds >= _SHORT_S else None

    def _set(self, reading: _Reading, total_j: float) -> Point:
        """Take over a reading as the present value, and return its point."""
        if self._last is None or reading.raw_j != self._last.raw_j or total_j != self._last.total_j:
            since_s = reading.before_s - self._slack_s
            if self._read is not None:
                since_s = max(since_s, min(self._read.before_s, reading.before_s))
            self._last = _Value(reading.raw_j, total_j, since_s, reading.time_s)
            self._remember(self._last)
        self._read = reading
        self.counted_j = total_j
        self._point_j = max(self._point_j, total_j)
        return Point(reading.time_s, self._point_j)

    def _remember(self, value: _Value) -> None:
        if not self._values:
            self._values.append(value)
        elif (seconds := value.seen_s - self._values[-1].seen_s) >= _APART_S:
            self._peak_w = max(self._peak_w, (value.total_j - self._values[-1].total_j) / seconds)
            self._values.append(value)

    def _suspect(self, last: _Value, reading: _Reading) -> Sequence[Point]:
        """Keep a refused reading; continue from it and the others if they go on by themselves."""
        if self._suspects and self._between_j(self._suspects[-1], reading) is None:
            self._suspects = []
        self._suspects.append(reading)
        del self._suspects[1 : len(self._suspects) - _MAX_SUSPECTS]
        first = self._suspects[0]
        # A measured value that stands still proves nothing.
        moves = reading.raw_j != first.raw_j or not self._measured
        if len(self._suspects) < _SUSPECTS or reading.before_s - first.after_s < self._settle_s or not moves:
            raise SourceError(f"its energy counter reads {reading.raw_j:.6g} J, which it cannot have counted")
        return self._restart(last, self._suspects)

    def _between_j(self, before: _Reading, after: _Reading) -> float | None:
        """Return the joules between two refused readings; None if the device cannot have drawn that much."""
        allowed_j = self._bound_w * (after.after_s - before.before_s + self._slack_s) + _RESOLUTION_J
        step_j = after.raw_j - before.raw_j
        if step_j < 0 and self._wraps_at_j is not None and after.raw_j <= self._wraps_at_j:
            step_j += self._wraps_at_j
        return step_j if 0 <= step_j <= allowed_j else None

    def _restart(self, last: _Value, suspects: Sequence[_Reading]) -> Sequence[Point]:
        """Continue from refused readings that have gone on by themselves."""
        first, steps_j = suspects[0], [0.0]
        for before, after in itertools.pairwise(suspects):
            steps_j.append(self._between_j(before, after) or 0.0)
        after_w = sum(steps_j) / (suspects[-1].time_s - first.time_s)
        if wrapped := self._step(last, first, max(self._peak_w, after_w)):
            joules = wrapped.joules
        else:
            joules = self._filled_j(last, first, after_w)
            self.restarts += 1
        self._suspects = []
        self._values.clear()
        points, total_j = [], last.total_j + joules
        for reading, step_j in zip(suspects, steps_j, strict=True):
            total_j += step_j
            points.append(self._set(reading, total_j))
        return points

    def _filled_j(self, last: _Value, first: _Reading, after_w: float) -> float:
        """Return the joules from the last value to the first reading after a reset, by the power around the gap."""
        read_s = self._read.time_s if self._read else last.seen_s
        gap_s = first.time_s - max(last.seen_s, read_s - self._slack_s)
        before_w = self._power_w(last)
        self.unseen_s += gap_s
        what = "was reset" if first.raw_j < last.raw_j else f"jumped by {first.raw_j - last.raw_j:.3g} J"
        filled = gap_s <= self.fills_s
        power = "counted with the power before and after it" if filled else "not counted"
        self._warn("reset" + what[:4], f"its energy counter {what}; the gap of {gap_s:.1f} s is {power}")
        return gap_s * (after_w if before_w is None else (before_w + after_w) / 2) if filled else 0.0

    def _warn_misread(self, raw_j: float) -> None:
        self._warn("misread", f"its energy counter read {raw_j:.6g} J, which it cannot have counted; this is not used")

    def _warn(self, kind: str, warning: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._warnings.append((kind, warning))
