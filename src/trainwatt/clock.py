"""Time: one object to pass where the time matters, so that hours can be tested in milliseconds."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The clocks of one machine, all in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary origin; never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...

    def asleep(self) -> float:
        """Seconds that the machine has been suspended since an arbitrary moment, which `monotonic` leaves out."""
        ...


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.perf_counter)
    wall = staticmethod(time.time)

    @staticmethod
    def asleep() -> float:
        """See `Clock`; always 0 where the system does not tell (it does on Linux)."""
        if _BOOTTIME is None:
            return 0.0
        return time.clock_gettime(_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


SYSTEM_CLOCK: Clock = SystemClock()

_SUSPENDED_S = 0.1  # less is how far apart two clocks are read


class Since:
    """A moment, and the wall time from it on: by the steady clock, with what the machine slept.

    Attributes:
        monotonic_s: when it was, by the steady clock.
        wall_s: the same, seconds since the Unix epoch.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic_s, self.wall_s, self._asleep_s = clock.monotonic(), clock.wall(), clock.asleep()

    @property
    def suspended_s(self) -> float:
        """How long the machine has slept since."""
        asleep_s = self._clock.asleep() - self._asleep_s
        return asleep_s if asleep_s > _SUSPENDED_S else 0.0

    def wall_at(self, monotonic_s: float) -> float:
        """The wall time, seconds since the Unix epoch, at a time of the steady clock."""
        return self.wall_s + monotonic_s - self.monotonic_s + self.suspended_s
