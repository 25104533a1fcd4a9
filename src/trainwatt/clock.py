"""Time source that tests can replace, so that hours pass in milliseconds."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Clocks of one machine, all in seconds."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary origin; never goes back."""
        ...

    def wall(self) -> float:
        """Return seconds since the Unix epoch; may jump."""
        ...

    def asleep(self) -> float:
        """Return the seconds of suspension since an arbitrary origin, which `monotonic` leaves out."""
        ...


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """System clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.perf_counter)
    wall = staticmethod(time.time)

    @staticmethod
    def asleep() -> float:
        """Return the seconds of suspension, see `Clock`; always 0 except on Linux, which alone reports it."""
        if _BOOTTIME is None:
            return 0.0
        return time.clock_gettime(_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


SYSTEM_CLOCK: Clock = SystemClock()

# Smaller differences come from the two clocks being read one after the other.
_SUSPENDED_S = 0.1


class Since:
    """A moment, and the wall time around it from the monotonic clock plus any suspension.

    A suspension moves the wall time of later moments only. It is noticed at the first call after it, so moments between
    that call and the one before it count as later. A run calls it several times per second.

    Attributes:
        monotonic_s: the moment by the monotonic clock.
        wall_s: the same moment, seconds since the Unix epoch.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic_s, self.wall_s, self._asleep_s = clock.monotonic(), clock.wall(), clock.asleep()
        self._looked_s = self.monotonic_s
        # Time on the monotonic clock after which a total of seconds of suspension holds, oldest first. Replaced as a
        # whole, because several threads read it.
        self._suspensions: tuple[tuple[float, float], ...] = ()

    @property
    def suspended_s(self) -> float:
        """Seconds of suspension since then."""
        self._look()
        return self._suspensions[-1][1] if self._suspensions else 0.0

    def wall_at(self, monotonic_s: float) -> float:
        """Return the wall time, seconds since the Unix epoch, at a time of the monotonic clock."""
        self._look()
        suspended_s = max((total_s for after_s, total_s in self._suspensions if monotonic_s > after_s), default=0.0)
        return self.wall_s + monotonic_s - self.monotonic_s + suspended_s

    def _look(self) -> None:
        """Record a suspension since the last call."""
        # The monotonic clock is read first, so that a suspension between the two readings is noticed at the next call.
        now_s, asleep_s = self._clock.monotonic(), self._clock.asleep() - self._asleep_s
        if asleep_s - (self._suspensions[-1][1] if self._suspensions else 0.0) > _SUSPENDED_S:
            self._suspensions = (*self._suspensions, (self._looked_s, asleep_s))
        self._looked_s = now_s
