"""Exact times of a counter's updates, inferred from its readings.

Drivers update an energy counter only every 20 to 100 ms. A reading therefore gives the joules at the last update, not
at the time of the reading. Without a correction, the energy of a short epoch is off by several per cent. Updates are
periodic: a few readings in quick succession show when the value changes. From then on one reading per period, well
between two updates, gives a point at the exact time of the update before it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from trainwatt.sampling.energy_series import Point
from trainwatt.sampling.refresh_learning import MIN_POLL_S, RefreshLearner, Rhythm

# Readings per period while learning: they locate an update within 2 % of the period.
_PROBES = 50
# If the updates are lost more often than they are confirmed, the counter is irregular.
_MAX_RESTARTS = 3
# The drift between the clocks is measured again after this long at the latest ...
_TRACK_S = 5.0
# ... and before the uncertainty of an update exceeds this fraction of a period.
_TRACK_DOUBT = 0.03
# The period is measured over this long. Over a longer time, the drift between the clocks may have changed.
_BASE_S = 30.0


class RefreshClock:
    """Turns readings of a periodically updated counter into points, and schedules the next reading.

    Args:
        refresh_s: Approximate upper limit of the update interval; 0 for a counter that is always current.
    """

    def __init__(self, refresh_s: float) -> None:
        self._expected_s = refresh_s
        self._poll_s = max(MIN_POLL_S, refresh_s / _PROBES)
        self._restarts = 0
        self._lag_s = 0.0
        self._begin(None)
        if refresh_s <= 0:
            self._stop_learning(lag_s=0.0)

    @property
    def knows_updates(self) -> bool:
        """True if points are at the times of updates; False if readings are dated back by a constant lag."""
        return self._rhythm is not None or self._learner is not None

    @property
    def provisional(self) -> Sequence[Point]:
        """Values whose exact times are not known yet, at their most likely times."""
        return self._learner.provisional() if self._learner else ()

    def observe(self, time_s: float, joules: float) -> Iterable[Point]:
        """Add a reading, and return the points that are now certain, oldest first."""
        if self._rhythm is not None:
            return self._follow(self._rhythm, time_s, joules)
        if self._learner is not None:
            return self._learn(self._learner, time_s, joules)
        return (Point(time_s - self._lag_s, joules),)

    def next_read_s(self, now_s: float, min_gap_s: float) -> float | None:
        """Return the time of the next reading; None if any time will do.

        Args:
            now_s: Present time on the monotonic clock.
            min_gap_s: Shortest time until the next reading once the updates are known.
        """
        if (rhythm := self._rhythm) is None:
            return now_s + self._poll_s if self._learner else None
        if self._probing_s is not None:
            return max(now_s + self._poll_s, self._probing_s - rhythm.guard_s(now_s))
        stride = max(1.0, math.ceil(min_gap_s / rhythm.period_s))
        return rhythm.update_before(now_s) + stride * rhythm.period_s + rhythm.guard_s(now_s)

    def _begin(self, last: Point | None) -> None:
        # Exactly one of the two is set, or neither if a reading is dated back by a constant lag.
        self._learner: RefreshLearner | None = RefreshLearner(self._expected_s, self._poll_s, last)
        self._rhythm: Rhythm | None = None
        # The updates over which the period is measured.
        self._watched_s: deque[float] = deque()
        # Predicted time of an update that is being measured, if any.
        self._probing_s: float | None = None
        self._last: tuple[float, float] = last or (math.nan, math.nan)

    def _restart(self, time_s: float, joules: float) -> None:
        """Learn again after the updates were lost; if that keeps happening, treat the counter as irregular."""
        self._begin(Point(time_s, joules))
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            self._stop_learning(lag_s=self._expected_s / 2)

    def _stop_learning(self, lag_s: float) -> None:
        self._learner, self._lag_s = None, lag_s

    def _learn(self, learner: RefreshLearner, time_s: float, joules: float) -> Iterable[Point]:
        learner.add(time_s, joules)
        if fit := learner.fit(time_s):
            self._watched_s.append(fit.used[0].time_s)
            rhythm = self._settle(fit.period_s, fit.used[-1].time_s, max(edge.width_s for edge in fit.used))
            self._learner, self._last = None, (time_s, joules)
            return learner.points(rhythm)
        if learner.has_failed(time_s):
            # A reading of an irregular counter is half the mean update interval old.
            self._stop_learning(lag_s=learner.mean_interval_s / 2)
            return learner.seen
        return ()

    def _settle(self, about_s: float, edge_s: float, width_s: float) -> Rhythm:
        """Measure the period up to the latest update."""
        self._rhythm = rhythm = Rhythm.measured(self._watched_s[0], about_s, edge_s, width_s)
        self._probing_s = None
        self._watched_s.append(edge_s)
        while len(self._watched_s) > 2 and edge_s - self._watched_s[1] > _BASE_S:
            self._watched_s.popleft()
        return rhythm

    def _follow(self, rhythm: Rhythm, time_s: float, joules: float) -> Iterable[Point]:
        last, self._last = self._last, (time_s, joules)
        if self._probing_s is not None:
            return self._track(rhythm, last, self._probing_s, time_s, joules)
        since_s = time_s - rhythm.anchor_s
        if since_s > _TRACK_S or since_s * rhythm.rate_error > _TRACK_DOUBT * rhythm.period_s:
            self._probing_s = rhythm.update_before(time_s) + rhythm.period_s
        return rhythm.point(time_s, joules)

    def _track(
        self, rhythm: Rhythm, last: tuple[float, float], expected_s: float, time_s: float, joules: float
    ) -> Iterable[Point]:
        """Measure the time of one update, and correct phase and period by it."""
        if joules == last[1]:
            if time_s > expected_s + 2 * rhythm.guard_s(time_s):
                self._restart(time_s, joules)
            return ()
        width_s = time_s - last[0]
        edge_s = time_s - width_s / 2
        # The thread got no CPU time at the update: measure the next one.
        if width_s > rhythm.period_s / 4:
            self._probing_s = rhythm.update_before(time_s) + rhythm.period_s
            return rhythm.point(time_s, joules)
        if abs(edge_s - expected_s) > 2 * rhythm.guard_s(time_s):
            self._restart(time_s, joules)
            return ()
        self._restarts = max(0, self._restarts - 1)
        self._settle(rhythm.period_s, edge_s, width_s)
        return (Point(edge_s, joules),)
