"""One background thread per process that reads every meter, for all runs that share it."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.power.device import Device, Meter
from trainwatt.sampling.channel import Channel

_log = logging.getLogger("trainwatt")

_MIN_WAKE_GAP_S = 0.005
_TELL_S = 0.2
_LOOK_S = 0.25  # the thread looks up at least this often: runs write what they know, whatever is read
_HANG_S = 1.0  # a reading that takes longer is left to itself
_STOP_TIMEOUT_S = 2.0
_FIRST_READING_S = 0.1


def _nothing() -> None:
    """A lease that nobody listens to."""


class Subscription:
    """A run's claim on some devices: their energy between any two times since the lease began."""

    def __init__(self, sampler: Sampler, channels: list[Channel], interval_s: float) -> None:
        self._sampler = sampler
        self._channels = channels
        self.interval_s = interval_s
        self.on_tick: Callable[[], object] = _nothing  # called in the sampler's thread, now and then
        self.floor_s = sampler.clock.monotonic()  # nothing before this time will be asked for

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices as they are read now: a source that failed may have been replaced by a lesser one."""
        return tuple(channel.device for channel in self._channels)

    @property
    def gaps_s(self) -> dict[str, float]:
        """Seconds for which a device could not be read, by device id; devices without a gap are absent."""
        now_s = self._sampler.clock.monotonic()
        gaps_s = {channel.device.id: channel.gap_until(now_s) for channel in self._channels}
        return {device: gap_s for device, gap_s in gaps_s.items() if gap_s > 0}

    @property
    def notes(self) -> dict[str, str]:
        """What went wrong with a device, by device id."""
        return {channel.device.id: channel.trouble for channel in self._channels if channel.trouble}

    @property
    def sampler_cpu_s(self) -> float:
        """CPU time that the sampler's thread has taken so far, for all runs."""
        return self._sampler.cpu_s

    def joules_at(self, time_s: float) -> dict[str, float]:
        """Cumulative joules by device id, from an origin of the device's own."""
        with self._sampler.lock:
            return {channel.device.id: channel.joules_at(time_s) for channel in self._channels}

    def settled_s(self) -> float:
        """Time up to which figures will not change any more."""
        now_s = self._sampler.clock.monotonic()
        with self._sampler.lock:
            return min((channel.settled_s(now_s) for channel in self._channels), default=now_s)

    def wake(self) -> None:
        """A phase has just begun or ended: have it read now what can be told apart at that moment."""
        if any(channel.worth_waking for channel in self._channels):
            self._sampler.wake()

    def wait_until_settled(self, time_s: float, timeout_s: float) -> None:
        """Wait until the figures at a time are settled, or give up after ``timeout_s``."""
        self._sampler.wait_until_settled(self, time_s, timeout_s)

    def close(self) -> None:
        """Give the devices back; the sampler stops with its last lease."""
        self._sampler.release(self)

    def uses(self, channel: Channel) -> bool:
        """Whether this lease reads a track."""
        return channel in self._channels


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """What is being read, and since when."""

    channel: Channel
    began_s: float

    @property
    def takes_s(self) -> float:
        return time.monotonic() - self.began_s


class Sampler:
    """Reads meters in a thread of its own and keeps their joules over time.

    A training thread never reads a meter: it asks for the energy between two of its timestamps. Where a driver does not
    return, a second thread, which does nothing but look after that, leaves the hung thread to it and starts another for
    the other meters; a reading that comes back after all is taken.

    Args:
        clock: where the time comes from.
        threaded: False leaves the ticking to the caller, who moves the clock: for tests in virtual time.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, threaded: bool = True) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self._threaded = threaded
        self._channels: dict[Device, Channel] = {}
        self._subscriptions: list[Subscription] = []
        self._wake = threading.Event()
        self._ticked = threading.Condition()
        self._thread: threading.Thread | None = None
        self._reading: _Reading | None = None
        self._idle = threading.Event()
        self._past_cpu_s = 0.0
        self._threads_cpu_s: dict[threading.Thread, float] = {}
        self._told_s = -math.inf
        self._settling = False

    @property
    def running(self) -> bool:
        """Whether any run is being measured."""
        return bool(self._subscriptions)

    @property
    def cpu_s(self) -> float:
        """CPU seconds that the sampler's threads have taken."""
        return self._past_cpu_s + sum(self._threads_cpu_s.copy().values())

    def subscribe(self, meters: Iterable[Meter], *, interval_s: float = 1.0) -> Subscription:
        """Begin to read some meters, at least every ``interval_s``, and once before this returns.

        What comes next may be a load that holds up all other threads, and what a counter stood at cannot be read later.
        """
        with self.lock:
            channels = [self._channels.setdefault(meter.device, Channel(meter)) for meter in meters]
            subscription = Subscription(self, channels, interval_s)
            self._subscriptions.append(subscription)
            if self._threaded and self._thread is None:
                self._start_thread()
                self._idle = threading.Event()
                threading.Thread(
                    target=self._look_after, args=(self._idle,), name="trainwatt-watch", daemon=True
                ).start()
        self.wake()
        if self._threaded:
            with self._ticked:  # a driver may hang: the training must not
                self._ticked.wait_for(lambda: all(channel.read_s > -math.inf for channel in channels), _FIRST_READING_S)
        return subscription

    def release(self, subscription: Subscription) -> None:
        """End a lease; with the last one the thread ends."""
        with self.lock:
            if subscription not in self._subscriptions:
                return
            self._subscriptions.remove(subscription)
            self._channels = {key: channel for key, channel in self._channels.items() if self._needed(channel)}
            thread, idle = self._thread, not self._subscriptions
            if idle:
                self._thread = None
                self._idle.set()
        if idle and thread is not None and thread is not threading.current_thread():
            self._wake.set()
            deadline_s = time.monotonic() + _STOP_TIMEOUT_S
            while thread.is_alive() and time.monotonic() < deadline_s and not self._hangs(_LOOK_S):
                thread.join(0.02)  # a driver may hang: the training must not

    def wake(self) -> None:
        """Read as soon as possible."""
        if self._threaded:
            self._wake.set()

    def wait_until_settled(self, subscription: Subscription, time_s: float, timeout_s: float) -> None:
        """See :meth:`Lease.settle`."""
        if not self._threaded:
            return
        deadline_s = time.monotonic() + timeout_s
        self._settling = True  # read gauges too, whose last readings would otherwise stay in the driver
        try:
            with self._ticked:
                while subscription.settled_s() < time_s and (left_s := deadline_s - time.monotonic()) > 0:
                    self._wake.set()
                    self._ticked.wait(min(left_s, 0.02))
        finally:
            self._settling = False

    def tick(self, *, woken: bool = False) -> float:
        """Read what is due; return the time at which the next reading is.

        Args:
            woken: a phase has begun or ended: read every meter whose figure is current, due or not.
        """
        for channel in list(self._channels.values()):
            if self._superseded():
                return math.inf
            if channel.hangs:
                continue
            now_s = self.clock.monotonic()
            hurried = (woken and channel.current) or self._settling
            if now_s >= channel.due_s or (
                hurried and channel.due_s < math.inf and now_s - channel.read_s > _MIN_WAKE_GAP_S
            ):
                self._read(channel)
        self._tell(self.clock.monotonic())
        with self.lock:
            for channel in self._channels.values():
                channel.series.prune(
                    min((each.floor_s for each in self._subscriptions if each.uses(channel)), default=math.inf)
                )
            return min((channel.due_s for channel in self._channels.values() if not channel.hangs), default=math.inf)

    def _tell(self, now_s: float) -> None:
        """Let the runs book what is settled, now and then: many short phases would make it dear."""
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            for subscription in list(self._subscriptions):
                subscription.on_tick()

    def _read(self, channel: Channel) -> None:
        began_cpu_s = time.thread_time()
        self._reading = reading = _Reading(channel, time.monotonic())
        try:
            channel.read(self.clock, self.lock)
        finally:
            with self.lock:
                channel.hangs = False
                if self._reading is reading:
                    self._reading = None
        cost_s = time.thread_time() - began_cpu_s
        interval_s = min((each.interval_s for each in self._subscriptions if each.uses(channel)), default=1.0)
        channel.schedule(interval_s, cost_s)

    def _needed(self, channel: Channel) -> bool:
        return any(subscription.uses(channel) for subscription in self._subscriptions)

    def _superseded(self) -> bool:
        """Whether this thread was given up, or every run has ended, while it was reading."""
        return self._threaded and self._thread is not threading.current_thread()

    def _hangs(self, after_s: float) -> bool:
        reading = self._reading
        return reading is not None and reading.takes_s > after_s

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trainwatt-sampler", daemon=True)
        self._thread.start()

    def _look_after(self, idle: threading.Event) -> None:
        seen: _Reading | None = None
        while not idle.wait(_HANG_S / 2):
            reading = self._reading
            if reading is not None and reading is seen and reading.takes_s > _HANG_S:  # twice: else we all were starved
                self._leave(reading)
            seen = reading

    def _leave(self, reading: _Reading) -> None:
        with self.lock:
            if self._reading is not reading or self._thread is None:
                return
            self._reading = None
            reading.channel.hang(self.clock.monotonic() - reading.takes_s)
            self._start_thread()

    def _run(self) -> None:
        while self._thread is threading.current_thread():
            woken = self._wake.is_set()
            self._wake.clear()
            try:
                next_s = self.tick(woken=woken)
            except Exception:  # noqa: BLE001  # a thread that dies would lose the rest of the run
                _log.exception("trainwatt: the sampler stumbled and goes on")
                next_s = self.clock.monotonic() + 1.0
            self._threads_cpu_s[threading.current_thread()] = time.thread_time()
            with self._ticked:
                self._ticked.notify_all()
            if not self._superseded():
                self._wake.wait(max(0.0, min(next_s - self.clock.monotonic(), _LOOK_S)))
        with self.lock:
            self._past_cpu_s += self._threads_cpu_s.pop(threading.current_thread(), 0.0)


_shared: Sampler | None = None
_shared_lock = threading.Lock()


def shared_sampler() -> Sampler:
    """The sampler of this process: all runs share its thread."""
    global _shared  # noqa: PLW0603  # one per process is its purpose
    with _shared_lock:
        _shared = _shared or Sampler()
        return _shared


def _forget_after_fork() -> None:
    """A forked child has no sampler thread, and must not touch a lock that the parent may have held."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
