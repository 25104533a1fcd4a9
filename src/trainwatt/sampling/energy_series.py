"""Cumulative energy of one device over time, from which every reported energy is computed."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import NamedTuple

from trainwatt.sampling import repetition

# Points kept before the earliest time still asked for: a step is located from two cells on either side.
_KEEP_BEFORE = 3
# A jump below this fraction of the power is treated as drift, not as a step.
_MIN_STEP = 0.1


class Point(NamedTuple):
    """Cumulative energy at a time.

    Attributes:
        time_s: Time on the monotonic clock, in seconds.
        joules: Energy up to then, from an arbitrary origin.
    """

    time_s: float
    joules: float


class EnergySeries:
    """Cumulative joules of a device: known points, interpolated at any other time.

    The interval between two points is called a cell. Its total energy is exact; only the distribution within the cell
    is interpolated, with constant power by default. If the power is level on both sides of the cell and differs between
    them, the power is taken to step once within the cell, at the time that conserves the cell's energy (the subcell
    resolution of Harten, J. Comput. Phys. 83, 1989, for one step in a cell). Before the first point, the power of the
    first cell is extrapolated. After the last point, a load that repeats itself is continued; otherwise the power of
    the last cell is.
    """

    __slots__ = ("_closed_s", "_joules", "_repetition", "_times")

    def __init__(self) -> None:
        self._times = array("d")
        self._joules = array("d")
        self._closed_s: float | None = None
        # Last point for which the period was determined, and the period.
        self._repetition: tuple[float, float | None] = (float("nan"), None)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def last_s(self) -> float | None:
        """Time of the last point, or None if there is none yet."""
        return self._times[-1] if self._times else None

    @property
    def total_j(self) -> float:
        """Cumulative joules at the last point; 0 without a point."""
        return self._joules[-1] if self._joules else 0.0

    def points_since(self, time_s: float) -> int:
        """Return the number of points after a time, as far as they are kept."""
        return len(self._times) - bisect_right(self._times, time_s)

    def add(self, time_s: float, joules: float) -> None:
        """Add a point. A point that is not later than the last one is dropped."""
        if self._times and time_s <= self._times[-1]:
            return
        self._times.append(time_s)
        self._joules.append(max(joules, self.total_j))

    def close(self, time_s: float) -> None:
        """End the series: the device is lost, and no energy is counted after this time."""
        self._closed_s = time_s

    def reopen(self) -> None:
        """Continue a series that was closed: the device can be read again."""
        self._closed_s = None

    def settled_s(self, lookahead: int) -> float:
        """Return the time up to which energies are final.

        Args:
            lookahead: Number of later cells on which an energy may depend.
        """
        if self._closed_s is not None:
            return float("inf")
        return self._times[-1 - lookahead] if len(self._times) > lookahead else float("-inf")

    def at(self, time_s: float) -> float:
        """Return the cumulative joules at a time on the monotonic clock."""
        times, joules = self._times, self._joules
        if self._closed_s is not None:
            time_s = min(time_s, self._closed_s)
        if len(times) < 2:
            return self.total_j
        right = bisect_right(times, time_s)
        if right == 0:
            return joules[0] - self._power(0) * (times[0] - time_s)
        if right == len(times):
            return joules[-1] + self._after_last(time_s - times[-1])
        return joules[right - 1] + self._within(right - 1, time_s - times[right - 1])

    def prune(self, before_s: float) -> None:
        """Drop the points that do not affect any energy at or after ``before_s``."""
        needed = bisect_right(self._times, before_s) - 1 - _KEEP_BEFORE
        drop = min(needed, len(self._times) - repetition.RECENT - 1)
        if drop > 0:
            del self._times[:drop]
            del self._joules[:drop]

    def _after_last(self, elapsed_s: float) -> float:
        """Return the joules drawn in the first ``elapsed_s`` after the last point."""
        last_s, last_j = self._times[-1], self._joules[-1]
        if self._repetition[0] != last_s:
            self._repetition = (last_s, repetition.period_s(self._times, self._joules))
        if (period_s := self._repetition[1]) is None:
            return self._power(len(self._times) - 2) * elapsed_s
        turns, rest_s = divmod(elapsed_s, period_s)
        before_j = self.at(last_s - period_s)
        return turns * (last_j - before_j) + self.at(last_s - period_s + rest_s) - before_j

    def _power(self, cell: int) -> float:
        return (self._joules[cell + 1] - self._joules[cell]) / (self._times[cell + 1] - self._times[cell])

    def _within(self, cell: int, elapsed_s: float) -> float:
        """Return the joules drawn in the first ``elapsed_s`` of a cell."""
        mean = self._power(cell)
        if not 0 < cell < len(self._times) - 2:
            return mean * elapsed_s
        before, after = self._power(cell - 1), self._power(cell + 1)
        if not self._is_step(cell, before, mean, after):
            return mean * elapsed_s
        step_s = (mean - after) / (before - after) * (self._times[cell + 1] - self._times[cell])
        return before * min(elapsed_s, step_s) + after * max(0.0, elapsed_s - step_s)

    def _is_step(self, cell: int, before: float, mean: float, after: float) -> bool:
        jump = abs(after - before)
        if jump <= _MIN_STEP * max(before, after) or not min(before, after) <= mean <= max(before, after):
            return False
        unrest = abs(self._power(cell - 2) - before) if cell >= 2 else 0.0
        if cell < len(self._times) - 3:
            unrest += abs(self._power(cell + 2) - after)
        return unrest < jump / 2
