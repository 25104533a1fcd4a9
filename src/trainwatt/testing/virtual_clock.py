"""Virtual time."""

from __future__ import annotations


class VirtualClock:
    """Clock that moves only when a test moves it.

    >>> clock = VirtualClock()
    >>> began_s = clock.monotonic()
    >>> clock.advance(3600.0)
    >>> clock.monotonic() - began_s
    3600.0

    Args:
        start_s: monotonic seconds at the beginning.
        wall_offset_s: seconds by which the wall clock is ahead of the monotonic clock.

    Attributes:
        now_s: monotonic seconds; set it to move the clock.
    """

    def __init__(self, start_s: float = 1_000.0, wall_offset_s: float = 1.7e9) -> None:
        self.now_s = start_s
        self.asleep_s = 0.0
        self.wall_offset_s = wall_offset_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward. No meter is read: for that, use :meth:`VirtualTracker.advance`."""
        self.now_s += seconds

    def suspend(self, seconds: float) -> None:
        """Suspend the machine: its monotonic clock stops, the wall clock continues."""
        self.asleep_s += seconds

    def monotonic(self) -> float:
        """See :class:`trainwatt.clock.Clock`."""
        return self.now_s

    def wall(self) -> float:
        """See :class:`trainwatt.clock.Clock`."""
        return self.now_s + self.asleep_s + self.wall_offset_s

    def asleep(self) -> float:
        """See :class:`trainwatt.clock.Clock`."""
        return self.asleep_s
