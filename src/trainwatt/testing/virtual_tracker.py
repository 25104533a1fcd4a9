"""Sampler and tracker in virtual time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from trainwatt.distributed.process_group import ALONE, ProcessGroup
from trainwatt.power.device import Found, Meter
from trainwatt.sampling.channel import Channel
from trainwatt.sampling.sampler import Sampler, Subscription
from trainwatt.testing.virtual_clock import VirtualClock
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink
from trainwatt.tracking.tracker import Tracker

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from trainwatt.tracking.options import Options

_POLL_S = 0.02


def run_until(sampler: Sampler, clock: VirtualClock, until_s: float, late_s: float = 0.0) -> None:
    """Let an unthreaded sampler read its meters until a time.

    Args:
        sampler: created with ``threaded=False`` on this clock, such as a :class:`VirtualSampler`.
        clock: is moved to ``until_s``.
        until_s: monotonic seconds.
        late_s: delay of each reading, as on a busy machine.
    """
    while (due_s := sampler.tick()) + late_s < until_s:
        clock.now_s = max(clock.now_s, due_s + late_s)
    clock.now_s = until_s


class VirtualSampler(Sampler):
    """Sampler without a thread: it reads its meters while a test moves the clock.

    >>> from trainwatt.testing import ConstantCounter
    >>> clock = VirtualClock()
    >>> sampler = VirtualSampler(clock)
    >>> subscription = sampler.subscribe([ConstantCounter(clock, watts=100.0)])
    >>> began_s = clock.monotonic()
    >>> sampler.advance(3600.0)
    >>> joules = [sum(subscription.joules_at(time_s).values()) for time_s in (began_s, clock.monotonic())]
    >>> round(joules[1] - joules[0])
    360000

    Args:
        clock: virtual time.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, threaded=False)
        self._virtual = clock

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy is: a sampler that reads nothing yet."""
        return type(self), (self._virtual,)

    def advance(self, seconds: float, late_s: float = 0.0) -> None:
        """Move the clock forward, reading each meter whenever it is due.

        Args:
            seconds: virtual seconds.
            late_s: delay of each reading, as on a busy machine.
        """
        run_until(self, self._virtual, self._virtual.now_s + seconds, late_s)

    def wake(self) -> None:
        """Read at once every meter whose value is current."""
        self.tick(woken=True)

    def catch_up(self, channels: Sequence[Channel], timeout_s: float) -> None:
        """Read at once every meter whose reading gives the energy up to now."""
        super().catch_up(channels, timeout_s)
        self.tick()

    def wait_until_settled(self, subscription: Subscription, time_s: float, timeout_s: float) -> None:
        """Move the clock until the energy at a time is final, or ``timeout_s`` has passed."""
        deadline_s = self._virtual.now_s + timeout_s
        # As in real time, gauges and irregular counters are read too.
        self._settling = True
        self.tick(woken=True)
        while subscription.settled_s() < time_s and self._virtual.now_s < deadline_s:
            self.advance(min(_POLL_S, deadline_s - self._virtual.now_s))
            self.tick(woken=True)
        self._settling = False


class VirtualTracker(Tracker):
    """Tracker that reads given meters in virtual time; otherwise the same as that of :func:`trainwatt.measure`.

    See :mod:`trainwatt.testing` for an example.

    Args:
        clock: virtual time, the one that the meters use.
        meters: one per device.
        sinks: destinations of the results; see :class:`trainwatt.Sink`.
        options: as for :func:`trainwatt.measure`, except that by default nothing is printed or written:
            ``verbose=False``, ``output_dir=None``.
    """

    def __init__(
        self, clock: VirtualClock, meters: Iterable[Meter], *, sinks: Iterable[Sink] = (), **options: Unpack[Options]
    ) -> None:
        options.setdefault("verbose", False)
        options.setdefault("output_dir", None)
        super().__init__(Settings.check(**options), sinks)
        self._sampler = VirtualSampler(clock)
        self._meters = Found(tuple(meters))

    def start(
        self,
        kind: str = "",
        *,
        trains_on: Iterable[object] | None = None,
        found: Found | None = None,
        processes: ProcessGroup = ALONE,
        sampler: Sampler | None = None,
        call: FrameType | None = None,
    ) -> Self:
        """Begin a run on the virtual meters; see :meth:`trainwatt.Tracker.start`."""
        return super().start(
            kind,
            trains_on=trains_on,
            found=found or self._meters,
            processes=processes,
            sampler=sampler or self._sampler,
            call=call,
        )

    def advance(self, seconds: float) -> None:
        """Move the clock forward: the code under measurement takes this long.

        Args:
            seconds: virtual seconds.
        """
        self._sampler.advance(seconds)
