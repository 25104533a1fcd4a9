"""Known carbon intensities by time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from trainwatt.live.provider import Interval


class Intervals:
    """Intervals by time; a later figure for the same time replaces an earlier one.

    Args:
        intervals: initial intervals.
        carry_s: seconds for which the last figure is used until a later one is known.
    """

    def __init__(self, intervals: Iterable[Interval] = (), carry_s: float = 0.0) -> None:
        self._by_begin = {each.begin_s: each for each in intervals}
        self._begins = sorted(self._by_begin)
        self._carry_s = carry_s

    def __len__(self) -> int:
        return len(self._begins)

    def updated(self, intervals: Iterable[Interval], *, since_s: float) -> Intervals:
        """Return a copy with more intervals, and without those that ended before ``since_s``."""
        kept = (each for each in self._by_begin.values() if each.end_s >= since_s)
        return Intervals((*kept, *intervals), self._carry_s)

    def at(self, time_s: float) -> float | None:
        """Return the carbon intensity at a time, gCO2e/kWh; None if unknown."""
        number = bisect_right(self._begins, time_s)
        if not number:
            return None
        last = self._by_begin[self._begins[number - 1]]
        return last.g_per_kwh if time_s < last.end_s + self._carry_s else None

    def mean(self, begin_s: float, end_s: float) -> tuple[float, float] | None:
        """Return the mean over the known part of an interval, and the size of that part, above 0 to 1; None if unknown.

        Args:
            begin_s: seconds since the Unix epoch.
            end_s: the same, later.
        """
        weighted = known_s = 0.0
        for each in self._by_begin.values():
            overlap_s = min(each.end_s, end_s) - max(each.begin_s, begin_s)
            if overlap_s > 0:
                weighted, known_s = weighted + overlap_s * each.g_per_kwh, known_s + overlap_s
        return (weighted / known_s, min(1.0, known_s / (end_s - begin_s))) if known_s else None

    def intervals(self) -> list[Interval]:
        """Return all intervals, oldest first."""
        return [self._by_begin[begin_s] for begin_s in self._begins]
