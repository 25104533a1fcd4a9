"""Carbon intensities that are known, by time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from trainwatt.live.provider import Interval


class Intervals:
    """Intervals; a later figure for the same time takes the place of an earlier one.

    Args:
        intervals: to begin with.
        carry_s: how long the last one stands in for a later one that is not known yet.
    """

    def __init__(self, intervals: Iterable[Interval] = (), carry_s: float = 0.0) -> None:
        self._by_begin = {each.begin_s: each for each in intervals}
        self._begins = sorted(self._by_begin)
        self._carry_s = carry_s

    def __len__(self) -> int:
        return len(self._begins)

    def updated(self, intervals: Iterable[Interval], *, since_s: float) -> Intervals:
        """With some more, without those that ended before ``since_s``."""
        kept = (each for each in self._by_begin.values() if each.end_s >= since_s)
        return Intervals((*kept, *intervals), self._carry_s)

    def at(self, time_s: float) -> float | None:
        """Carbon intensity at a time, gCO2e/kWh; None where nothing tells."""
        number = bisect_right(self._begins, time_s)
        if not number:
            return None
        last = self._by_begin[self._begins[number - 1]]
        return last.g_per_kwh if time_s < last.end_s + self._carry_s else None

    def mean(self, begin_s: float, end_s: float) -> tuple[float, float] | None:
        """The mean over the part of some time that is known, and how large this part is, above 0 to 1; None: nothing.

        Args:
            begin_s: seconds since the Unix epoch.
            end_s: the same, later.
        """
        weighed = known_s = 0.0
        for each in self._by_begin.values():
            overlap_s = min(each.end_s, end_s) - max(each.begin_s, begin_s)
            if overlap_s > 0:
                weighed, known_s = weighed + overlap_s * each.g_per_kwh, known_s + overlap_s
        return (weighed / known_s, min(1.0, known_s / (end_s - begin_s))) if known_s else None

    def intervals(self) -> list[Interval]:
        """All of them, oldest first."""
        return [self._by_begin[begin_s] for begin_s in self._begins]
