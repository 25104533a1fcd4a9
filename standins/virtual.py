"""Virtual time: hours of sampling in milliseconds, with nothing of trainwatt replaced."""

from __future__ import annotations

from trainwatt.sampling.sampler import Sampler


class VirtualClock:
    """A clock that moves when it is told to.

    Args:
        start_s: monotonic seconds at the beginning.
        wall_offset_s: what the wall clock is ahead by.
    """

    def __init__(self, start_s: float = 1_000.0, wall_offset_s: float = 1.7e9) -> None:
        self.now_s = start_s
        self.asleep_s = 0.0
        self.wall_offset_s = wall_offset_s

    def monotonic(self) -> float:
        """See :class:`trainwatt.clock.Clock`."""
        return self.now_s

    def wall(self) -> float:
        """See :class:`trainwatt.clock.Clock`."""
        return self.now_s + self.asleep_s + self.wall_offset_s

    def asleep(self) -> float:
        """See :class:`trainwatt.clock.Clock`."""
        return self.asleep_s

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: its monotonic clock stands still, the time of day goes on."""
        self.asleep_s += seconds


def run_until(sampler: Sampler, clock: VirtualClock, until_s: float, late_s: float = 0.0) -> None:
    """Let an unthreaded sampler sample until a time.

    Args:
        sampler: made with ``threaded=False`` on this clock.
        clock: moved on to ``until_s``.
        until_s: monotonic seconds.
        late_s: how late each reading comes, as on a busy machine.
    """
    while (due_s := sampler.tick()) + late_s < until_s:
        clock.now_s = max(clock.now_s, due_s + late_s)
    clock.now_s = until_s
