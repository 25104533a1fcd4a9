"""Learning of a counter's update times from closely spaced readings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from trainwatt.sampling.energy_series import Point

MIN_POLL_S = 1e-3

# Updates that must have been seen before a fitted period is accepted.
_EDGES = 5
# After this many expected update intervals without a fit, the counter is treated as irregular.
_LEARN_PERIODS = 25
# Relative error assumed for the time between two neighbouring updates.
_INITIAL_RATE_ERROR = 0.15
# If the uncertainty exceeds this fraction of a period, the number of periods may be off by one.
_MAX_COUNT_ERROR = 0.3
# If the ratio of two misfits is smaller than this, neither is preferred.
_SIMILAR = 1.3
# Two crystal oscillators differ by less than this.
_DRIFT = 2e-4


class Edge(NamedTuple):
    """Update of a counter that was seen between two readings.

    Attributes:
        time_s: Middle of the two readings.
        width_s: Time between them.
    """

    time_s: float
    width_s: float


class Fit(NamedTuple):
    """Period fitted to some updates.

    Attributes:
        period_s: The period.
        misfit_s: Largest deviation of an update from the fit.
        used: The updates that were fitted.
    """

    period_s: float
    misfit_s: float
    used: Sequence[Edge]


class Rhythm(NamedTuple):
    """Period and phase of a counter's updates.

    Attributes:
        period_s: Update interval.
        anchor_s: Time of the last update that was measured.
        width_s: Time between the readings before and after that update: the uncertainty of its time.
        rate_error: Relative error of the period.
    """

    period_s: float
    anchor_s: float
    width_s: float
    rate_error: float

    @classmethod
    def measured(cls, first_s: float, about_s: float, edge_s: float, width_s: float) -> Rhythm:
        """Measure the period between two updates.

        Args:
            first_s: Time of the first update.
            about_s: Approximate period.
            edge_s: Time of the last update.
            width_s: Time between the readings before and after the last update.
        """
        base_s = edge_s - first_s
        period_s = base_s / max(1, round(base_s / about_s))
        return cls(period_s, edge_s, width_s, width_s / base_s + _DRIFT)

    def update_before(self, time_s: float) -> float:
        """Return the time of the last update before a time."""
        return self.anchor_s + math.floor((time_s - self.anchor_s) / self.period_s) * self.period_s

    def guard_s(self, now_s: float) -> float:
        """Return the safe distance of a reading from a predicted update: twice the uncertainty of its time."""
        return 2 * (self.width_s + self.rate_error * abs(now_s - self.anchor_s)) + MIN_POLL_S

    def point(self, time_s: float, joules: float) -> Iterable[Point]:
        """Date a reading back to the update that it shows; return nothing if it is too close to an update."""
        edge_s = self.update_before(time_s)
        since_s, doubt_s = time_s - edge_s, self.guard_s(time_s) / 2
        return (Point(edge_s, joules),) if doubt_s < since_s < self.period_s - doubt_s else ()


class RefreshLearner:
    """Learns the update interval of a counter from closely spaced readings.

    Args:
        expected_s: Approximate update interval, from the specification of the counter.
        poll_s: Time between two readings while learning.
        last: Last reading before the start, if any.
    """

    def __init__(self, expected_s: float, poll_s: float, last: Point | None) -> None:
        self._expected_s = expected_s
        self._poll_s = poll_s
        self._edges: list[Edge] = []
        # The first reading of each value.
        self._seen = [last] if last else []
        self._last = last
        self._began_s = last.time_s if last else math.nan

    @property
    def seen(self) -> Sequence[Point]:
        """First reading of each value so far, at the time of the reading."""
        return self._seen

    @property
    def mean_interval_s(self) -> float:
        """Mean time between two updates seen so far; 0 if fewer than two were seen."""
        span_s = self._edges[-1].time_s - self._edges[0].time_s if len(self._edges) > 1 else 0.0
        return span_s / max(1, len(self._edges) - 1)

    def add(self, time_s: float, joules: float) -> None:
        """Add a reading."""
        if self._last is None:
            self._began_s = time_s
            self._seen.append(Point(time_s, joules))
        elif joules != self._last.joules:
            width_s = time_s - self._last.time_s
            # While the thread got no CPU time there was nothing to learn.
            self._began_s += width_s if width_s > 2 * self._expected_s else 0.0
            self._edges.append(Edge(time_s - width_s / 2, width_s))
            self._seen.append(Point(time_s, joules))
        self._last = Point(time_s, joules)

    def fit(self, now_s: float) -> Fit | None:
        """Fit one period to the updates that were seen sharply; return None if they do not agree on one."""
        patient = now_s - self._began_s < _LEARN_PERIODS * self._expected_s / 2
        blur_s = max(3 * self._poll_s, self._expected_s / 20) if patient else self._expected_s / 4
        fit = _fit_period([edge for edge in self._edges if edge.width_s <= blur_s], self._expected_s)
        if fit is None or len(fit.used) < _EDGES or fit.misfit_s > blur_s:
            return None
        return fit

    def has_failed(self, now_s: float) -> bool:
        """Return True if the counter has been read for so long that it must be irregular."""
        return now_s - self._began_s > _LEARN_PERIODS * self._expected_s

    def provisional(self) -> Sequence[Point]:
        """Return the values seen so far at their most likely times."""
        if len(self._seen) < 2:
            return tuple(self._seen)
        return tuple(self.points(self._likely_rhythm()))

    def points(self, rhythm: Rhythm) -> Iterable[Point]:
        """Return the values seen so far at the times of their updates.

        Args:
            rhythm: Period and phase of the updates.
        """
        points: list[Point] = []
        after: Edge | None = None
        # Time of the next value, which is known first, as the values are visited from the last to the first.
        after_s: float | None = None
        for edge, point in zip([None, *self._edges][::-1], reversed(self._seen), strict=True):
            change_s = _update_s(rhythm, edge) if edge else None
            if change_s is None and after and after_s is not None:
                change_s = _update_before(rhythm, after_s, last_read_s=after.time_s - after.width_s / 2)
            if change_s is not None:
                points.append(Point(change_s, point.joules))
            after, after_s = edge, change_s
        points.reverse()
        return points if after_s is not None else [*_first(rhythm, self._expected_s, self._seen[0], points), *points]

    def _likely_rhythm(self) -> Rhythm:
        """Return the most likely rhythm, from the updates seen so far."""
        fit = _fit_period([edge for edge in self._edges if edge.width_s <= self._expected_s / 4], self._expected_s)
        if fit is None:
            return Rhythm(self._expected_s, *self._edges[-1], _INITIAL_RATE_ERROR)
        return Rhythm(fit.period_s, *fit.used[-1], _rate_error(fit.used))


def _fit_period(edges: Sequence[Edge], expected_s: float) -> Fit | None:
    """Fit one period to some updates: a linear regression of their times on their numbers.

    Each update is numbered from the one before. If the gap is so long that its number may be off by one, the fit starts
    again with the later update.
    """
    if len(edges) < 2:
        return None
    apart_s = [after.time_s - before.time_s for before, after in pairwise(edges)]
    period_s, error = min(expected_s, statistics.median(apart_s)), _INITIAL_RATE_ERROR
    used, turns = [edges[0]], [0]
    for edge, since_s in zip(edges[1:], apart_s, strict=True):
        count = round(since_s / period_s)
        if count == 0:
            return None
        if count * error > _MAX_COUNT_ERROR:
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
    return Fit(period_s, max(abs(each - middle_s) for each in line), used)


def _rate_error(edges: Sequence[Edge]) -> float:
    """Return the relative error of a period that was measured from the first of these updates to the last."""
    return (edges[0].width_s + edges[-1].width_s) / 2 / (edges[-1].time_s - edges[0].time_s)


def _update_s(rhythm: Rhythm, edge: Edge) -> float | None:
    """Return the exact time of an update; None if it does not fit or was not seen within a period."""
    turns = round((edge.time_s - rhythm.anchor_s) / rhythm.period_s)
    change_s = rhythm.anchor_s + turns * rhythm.period_s
    near = abs(change_s - edge.time_s) <= edge.width_s / 2 + rhythm.guard_s(change_s)
    return change_s if near and edge.width_s < rhythm.period_s else None


def _update_before(rhythm: Rhythm, after_s: float, last_read_s: float) -> float | None:
    """Return the time of the update one period before the next, if the value was read after it; else None.

    Args:
        rhythm: Period and phase of the updates.
        after_s: Time of the next update.
        last_read_s: Last reading of the value before the next update.
    """
    change_s = after_s - rhythm.period_s
    return change_s if change_s + rhythm.guard_s(change_s) / 2 < last_read_s else None


def _first(rhythm: Rhythm, expected_s: float, first: Point, later: Sequence[Point]) -> Iterable[Point]:
    """Return the first value, which was read only once, at the time of its update.

    If it was read close to an update, it may belong to that one or to the one before. The age is chosen that makes the
    power until the next value more similar to the power after it.
    """
    certain = rhythm.point(*first)
    # Without two later updates there is no power to compare with.
    if certain or len(later) < 2 or later[0].time_s == later[-1].time_s:
        return certain
    after, last = later[0], later[-1]
    nearest_s = min(rhythm.update_before(first.time_s + rhythm.period_s / 2), after.time_s - rhythm.period_s)
    watts = (last.joules - after.joules) / (last.time_s - after.time_s)

    def misfit(change_s: float) -> float:
        return abs((after.joules - first.joules) / (after.time_s - change_s) - watts)

    likely_s, other_s = sorted((nearest_s, nearest_s - rhythm.period_s), key=misfit)
    undecided = misfit(other_s) < _SIMILAR * misfit(likely_s)
    change_s = (likely_s + other_s) / 2 if undecided else likely_s
    # a value that was read is not from the future, and not older than an update interval
    oldest_s = first.time_s - min(rhythm.period_s, expected_s)
    return (Point(min(max(change_s, oldest_s), first.time_s), first.joules),)
