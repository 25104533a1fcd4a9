"""When a counter refreshes, learnt from its readings alone.

Drivers refresh an energy counter only every 20 to 100 ms, so that a reading tells the joules at the last refresh, not
at the time of the reading. Taken at face value, this costs a short epoch several per cent. Refreshes are periodic:
reading quickly a few times shows when the figure changes, and from then on one reading a period, taken well between
two changes, is worth a point at the exact time of the change before it.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from copy import copy
from itertools import pairwise
from typing import NamedTuple

_EDGES = 5  # changes seen before a period is believed
_LEARN_PERIODS = 25  # refreshes of the expected length after which a counter is taken as irregular
_PROBES = 50  # readings a period while learning: places a change within 2 % of the period
_ABOUT = 0.15  # relative error of the time between two neighbouring changes
_MISCOUNTED = 0.3  # of a turn: a doubt as large may be a turn more or less
_ALIKE = 1.3  # two misfits whose ratio is less say nothing
_DRIFT = 2e-4  # two crystal clocks differ by less than this
_MAX_RESTARTS = 3  # a rhythm that is lost more often than it is confirmed is none
_TRACK_S = 5.0  # the drift is measured again at least this often,
_TRACK_DOUBT = 0.03  # and before the doubt about a change has grown to this part of a period
_BASE_S = 30.0  # the period is measured over this long: later the clocks may have drifted otherwise
_MIN_POLL_S = 1e-3


class Point(NamedTuple):
    """A figure and the time at which it was true."""

    time_s: float
    joules: float


class _Edge(NamedTuple):
    time_s: float
    width_s: float


class _Rhythm(NamedTuple):
    period_s: float
    misfit_s: float  # of the change that fits it worst
    used: Sequence[_Edge]


def _rhythm(edges: Sequence[_Edge], expected_s: float) -> _Rhythm | None:
    """One period for some changes, by least squares of time on turns.

    Each is counted on from the one before; where so many turns lie between that one may be miscounted, it begins anew.
    """
    if len(edges) < 2:
        return None
    apart_s = [after.time_s - before.time_s for before, after in pairwise(edges)]
    period_s, error = min(expected_s, statistics.median(apart_s)), _ABOUT
    used, turns = [edges[0]], [0]
    for edge, since_s in zip(edges[1:], apart_s, strict=True):
        count = round(since_s / period_s)
        if count == 0:
            return None
        if count * error > _MISCOUNTED:
            used, turns = [edge], [0]
            continue
        used.append(edge)
        turns.append(turns[-1] + count)
        period_s = statistics.linear_regression(turns, [each.time_s for each in used]).slope
        error = _rate_error(used)
    if len(used) < 2:
        return None
    line = [edge.time_s - turn * period_s for edge, turn in zip(used, turns, strict=True)]
    middle_s = statistics.fmean(line)
    return _Rhythm(period_s, max(abs(each - middle_s) for each in line), used)


def _rate_error(edges: Sequence[_Edge]) -> float:
    """Relative error of a period that was measured from the first of these changes to the last."""
    return (edges[0].width_s + edges[-1].width_s) / 2 / (edges[-1].time_s - edges[0].time_s)


class RefreshClock:
    """Turns readings of a refreshing counter into points, and says when to read next.

    Args:
        refresh_s: about the longest time between two refreshes; 0 for a counter that is always current.
    """

    def __init__(self, refresh_s: float) -> None:
        self._expected_s = refresh_s
        self._poll_s = max(_MIN_POLL_S, refresh_s / _PROBES)
        self._free = refresh_s <= 0
        self._lag_s = 0.0
        self._restarts = 0
        self._begin(None)

    @property
    def provisional(self) -> Sequence[Point]:
        """Figures that wait for their exact times, at the times that follow from what is known of their rhythm."""
        if len(self._seen) < 2:
            return tuple(self._seen)
        guess = copy(self)
        guess._suppose()  # noqa: SLF001  # one of us
        return tuple(guess._release())  # noqa: SLF001

    def observe(self, time_s: float, joules: float) -> Iterable[Point]:
        """Take a reading; return the points that it makes certain, oldest first."""
        if self._free:
            return (Point(time_s - self._lag_s, joules),)
        if not self._period_s:
            return self._learn(time_s, joules)
        return self._follow(time_s, joules)

    def next_read_s(self, now_s: float, min_gap_s: float) -> float | None:
        """When to read next, at least ``min_gap_s`` from now in steady state; None: any time will do."""
        if self._free:
            return None
        if not self._period_s:
            return now_s + self._poll_s
        if self._probing_s is not None:
            return max(now_s + self._poll_s, self._probing_s - self._guard_s(now_s))
        stride = max(1.0, math.ceil(min_gap_s / self._period_s))
        return self._edge_before(now_s) + stride * self._period_s + self._guard_s(now_s)

    def _begin(self, last: tuple[float, float] | None) -> None:
        self._period_s = 0.0  # 0: not known yet
        self._anchor_s = self._width_s = 0.0  # the last change that was watched closely, and how closely
        self._rate_error = 0.0  # relative error of the period
        self._watched_s: deque[float] = deque()  # the changes over which it was measured
        self._probing_s: float | None = None
        self._edges: list[_Edge] = []
        self._seen = [Point(*last)] if last else []  # the first reading of each figure, until the period is known
        self._last = last
        self._began_s = last[0] if last else math.nan

    def _restart(self, time_s: float, joules: float) -> None:
        """The rhythm was lost: learn it again, unless that keeps happening."""
        self._begin((time_s, joules))
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            self._free, self._lag_s = True, self._expected_s / 2

    def _learn(self, time_s: float, joules: float) -> Iterable[Point]:
        if self._last is None:
            self._began_s = time_s
            self._seen.append(Point(time_s, joules))
        elif joules != self._last[1]:
            width_s = time_s - self._last[0]
            self._began_s += width_s if width_s > 2 * self._expected_s else 0.0  # starved: nothing was to be learnt
            self._edges.append(_Edge(time_s - width_s / 2, width_s))
            self._seen.append(Point(time_s, joules))
        self._last = (time_s, joules)
        if self._lock(time_s):
            return self._release()
        if time_s - self._began_s > _LEARN_PERIODS * self._expected_s:
            return self._give_up()
        return ()

    def _lock(self, now_s: float) -> bool:
        """Fit one period to the changes that were seen sharply; False where they do not agree on one."""
        patient = now_s - self._began_s < _LEARN_PERIODS * self._expected_s / 2
        blur_s = max(3 * self._poll_s, self._expected_s / 20) if patient else self._expected_s / 4
        rhythm = _rhythm([edge for edge in self._edges if edge.width_s <= blur_s], self._expected_s)
        if rhythm is None or len(rhythm.used) < _EDGES or rhythm.misfit_s > blur_s:
            return False
        self._watched_s.append(rhythm.used[0].time_s)
        self._settle(rhythm.period_s, rhythm.used[-1].time_s, max(edge.width_s for edge in rhythm.used))
        return True

    def _suppose(self) -> None:
        """Take the rhythm to be what the changes seen so far make likely."""
        rhythm = _rhythm([edge for edge in self._edges if edge.width_s <= self._expected_s / 4], self._expected_s)
        self._period_s = rhythm.period_s if rhythm else self._expected_s
        self._anchor_s, self._width_s = rhythm.used[-1] if rhythm else self._edges[-1]
        self._rate_error = _rate_error(rhythm.used) if rhythm else _ABOUT

    def _settle(self, about_s: float, edge_s: float, width_s: float) -> None:
        """Measure the period up to a change that was watched closely."""
        base_s = edge_s - self._watched_s[0]
        self._period_s = base_s / max(1, round(base_s / about_s))
        self._anchor_s, self._width_s = edge_s, width_s
        self._rate_error = width_s / base_s + _DRIFT
        self._probing_s = None
        self._watched_s.append(edge_s)
        while len(self._watched_s) > 2 and edge_s - self._watched_s[1] > _BASE_S:
            self._watched_s.popleft()

    def _release(self) -> Iterable[Point]:
        """Give the figures seen while learning their true times."""
        seen, self._seen = self._seen, []
        points: list[Point] = []
        after: _Edge | None = None
        after_s: float | None = None  # when the next figure came
        for edge, point in zip([None, *self._edges][::-1], reversed(seen), strict=True):
            change_s = self._change_s(edge) if edge else None
            if change_s is None and after and after_s is not None:
                change_s = self._change_before(after_s, last_read_s=after.time_s - after.width_s / 2)
            if change_s is not None:
                points.append(Point(change_s, point.joules))
            after, after_s = edge, change_s
        points.reverse()
        return points if after_s is not None else [*self._first(seen[0], points), *points]

    def _change_s(self, edge: _Edge) -> float | None:
        """The exact time of a change that was seen within a period."""
        turns = round((edge.time_s - self._anchor_s) / self._period_s)
        change_s = self._anchor_s + turns * self._period_s
        near = abs(change_s - edge.time_s) <= edge.width_s / 2 + self._guard_s(change_s)
        return change_s if near and edge.width_s < self._period_s else None

    def _change_before(self, after_s: float, last_read_s: float) -> float | None:
        """When a figure came that was still read after the change before the next one."""
        change_s = after_s - self._period_s
        return change_s if change_s + self._guard_s(change_s) / 2 < last_read_s else None

    def _first(self, first: Point, later: Sequence[Point]) -> Iterable[Point]:
        """The first figure of all, read but once. Near a change it came with that or with the one before.

        It is taken to be as old as makes the power until the next figure more like that after it.
        """
        certain = self._point(*first)
        if certain or len(later) < 2:
            return certain
        after, last = later[0], later[-1]
        nearest_s = min(self._edge_before(first.time_s + self._period_s / 2), after.time_s - self._period_s)
        watts = (last.joules - after.joules) / (last.time_s - after.time_s)

        def misfit(change_s: float) -> float:
            return abs((after.joules - first.joules) / (after.time_s - change_s) - watts)

        likely_s, other_s = sorted((nearest_s, nearest_s - self._period_s), key=misfit)
        open_ = misfit(other_s) < _ALIKE * misfit(likely_s)
        return (Point((likely_s + other_s) / 2 if open_ else likely_s, first.joules),)

    def _give_up(self) -> Iterable[Point]:
        """No period: a reading is as old as half the mean time between changes."""
        self._free = True
        span_s = self._edges[-1].time_s - self._edges[0].time_s if len(self._edges) > 1 else 0.0
        self._lag_s = span_s / max(1, len(self._edges) - 1) / 2
        seen, self._seen = self._seen, []
        return seen

    def _follow(self, time_s: float, joules: float) -> Iterable[Point]:
        last, self._last = self._last, (time_s, joules)
        if last is not None and self._probing_s is not None:
            return self._track(last, self._probing_s, time_s, joules)
        since_s = time_s - self._anchor_s
        if since_s > _TRACK_S or since_s * self._rate_error > _TRACK_DOUBT * self._period_s:
            self._probing_s = self._edge_before(time_s) + self._period_s
        return self._point(time_s, joules)

    def _track(self, last: tuple[float, float], expected_s: float, time_s: float, joules: float) -> Iterable[Point]:
        """Watch one change closely and correct phase and period by it."""
        if joules == last[1]:
            if time_s > expected_s + 2 * self._guard_s(time_s):
                self._restart(time_s, joules)
            return ()
        width_s = time_s - last[0]
        edge_s = time_s - width_s / 2
        if width_s > self._period_s / 4:  # starved of time: try the next one
            self._probing_s = self._edge_before(time_s) + self._period_s
            return self._point(time_s, joules)
        if abs(edge_s - expected_s) > 2 * self._guard_s(time_s):
            self._restart(time_s, joules)
            return ()
        self._restarts = max(0, self._restarts - 1)
        self._settle(self._period_s, edge_s, width_s)
        return (Point(edge_s, joules),)

    def _point(self, time_s: float, joules: float) -> Iterable[Point]:
        """The figure's true time, unless the reading was too near a change to tell."""
        edge_s = self._edge_before(time_s)
        since_s, doubt_s = time_s - edge_s, self._guard_s(time_s) / 2
        return (Point(edge_s, joules),) if doubt_s < since_s < self._period_s - doubt_s else ()

    def _edge_before(self, time_s: float) -> float:
        return self._anchor_s + math.floor((time_s - self._anchor_s) / self._period_s) * self._period_s

    def _guard_s(self, now_s: float) -> float:
        """How far from a predicted change a reading is safe: the doubt about it, twice."""
        return 2 * (self._width_s + self._rate_error * abs(now_s - self._anchor_s)) + _MIN_POLL_S
