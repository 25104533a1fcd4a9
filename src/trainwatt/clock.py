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
