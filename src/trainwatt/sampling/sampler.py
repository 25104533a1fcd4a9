"""Background thread that reads all meters of the process, shared by all runs."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.containment import Failures
from trainwatt.power.device import Device, Meter
from trainwatt.sampling.channel import Channel
from trainwatt.sampling.watchdog import Called, Watchdog
from trainwatt.signals.flag import Flag

_MIN_WAKE_GAP_S = 0.005
_NOTIFY_S = 0.2
# Longest sleep of the thread: runs are notified even if no meter is due.
_MAX_SLEEP_S = 0.25
_STOP_TIMEOUT_S = 2.0
_FIRST_READING_S = 0.1
# Meters are read when a figure is asked for, unless that was a moment ago.
_SELDOM_S = 0.05
# Longest and shortest wait for that reading, and the same as a part of the time since the last one. A shorter wait
# would take longer than it should, as a thread does not wake up at once.
_CATCH_UP_S, _CATCH_UP_LEAST_S, _CATCH_UP_PART = 0.005, 0.001, 0.001


def _nothing() -> None:
    """Do nothing: the default of a subscription's callbacks."""


class Subscription:
    """Access of one run to the energy of its devices, from the start of the subscription on.

    Attributes:
        interval_s: Longest time between two readings that the run asked for.
        on_tick: Callback, called every 0.2 s or so in the sampler's thread.
        reads_first: Returns True if the next call of `on_tick` shows the energy, so that meters should be read before.
        floor_s: Earliest time that the run may still ask for; earlier points may be dropped.
        unresponsive: True while `on_tick` does not return, such as from a disk; it is then not called again.
    """

    def __init__(self, sampler: Sampler, channels: list[Channel], interval_s: float) -> None:
        self._sampler = sampler
        self._channels = channels
        self._failures = Failures()
        self.unresponsive = False
        self.interval_s = interval_s
        self.on_tick: Callable[[], object] = _nothing
        self.reads_first: Callable[[], object] = _nothing
        self.floor_s = self._caught_up_s = sampler.clock.monotonic()

    @property
    def devices(self) -> tuple[Device, ...]:
        """Devices with their current sources: a source that failed may have been replaced by its fallback."""
        return tuple(channel.device for channel in self._channels)

    @property
    def gaps_s(self) -> dict[str, float]:
        """Seconds for which a device could not be read, by device id; devices without a gap are absent."""
        now_s = self._sampler.clock.monotonic()
        gaps_s = {channel.device.id: channel.gap_until(now_s) for channel in self._channels}
        return {device: gap_s for device, gap_s in gaps_s.items() if gap_s > 0}

    @property
    def notes(self) -> dict[str, str]:
        """Last warning about each device, by device id; devices without one are absent."""
        return {channel.device.id: channel.warning for channel in self._channels if channel.warning}

    @property
    def sampler_cpu_s(self) -> float:
        """CPU seconds that the sampler's threads have used so far, for all runs."""
        return self._sampler.cpu_s

    def joules_at(self, time_s: float) -> dict[str, float]:
        """Return the cumulative joules by device id, each from an arbitrary origin.

        Args:
            time_s: Time on the sampler's monotonic clock.
        """
        with self._sampler.lock:
            return {channel.device.id: channel.joules_at(time_s) for channel in self._channels}

    def settled_s(self) -> float:
        """Return the time up to which energies are final."""
        now_s = self._sampler.clock.monotonic()
        with self._sampler.lock:
            return min((channel.settled_s(now_s) for channel in self._channels), default=now_s)

    def updated_since(self, time_s: float, count: int) -> bool:
        """Return True if the energy of each device was updated this often since a time.

        Estimates and lost devices are not waited for.

        Args:
            time_s: Time on the sampler's monotonic clock.
            count: Number of updates.
        """
        with self._sampler.lock:
            return all(
                channel.series.points_since(time_s) >= count
                for channel in self._channels
                if channel.device.method == "measured" and not channel.lost
            )

    def wake(self) -> None:
        """Read now, at the boundary of a phase, every meter whose reading makes the phase's energy more accurate."""
        if any(channel.worth_waking for channel in self._channels):
            self._sampler.wake()

    def catch_up(self) -> float:
        """Read every meter whose reading gives the energy up to now, and wait for that, if it is quick.

        The wait is a small part of the time since the last one, so that a figure that is asked for costs nothing.

        Returns:
            Time of the call on the sampler's monotonic clock.
        """
        time_s = self._sampler.clock.monotonic()
        since_s = time_s - self._caught_up_s
        if since_s >= _SELDOM_S:
            self._caught_up_s = time_s
            wait_s = min(_CATCH_UP_S, _CATCH_UP_PART * since_s)
            self._sampler.catch_up(self._channels, wait_s if wait_s >= _CATCH_UP_LEAST_S else 0.0)
        return time_s

    def wait_until_settled(self, time_s: float, timeout_s: float) -> None:
        """Wait until the energies at a time are final.

        Args:
            time_s: Time on the sampler's monotonic clock.
            timeout_s: Return after this many seconds in any case.
        """
        self._sampler.wait_until_settled(self, time_s, timeout_s)

    def close(self) -> None:
        """Release the devices. The sampler stops with its last subscription."""
        self._sampler.release(self)

    def shows_first(self) -> bool:
        """Return what `reads_first` returns; False if it fails."""
        return self._failures.result("the question if figures are due", lambda: bool(self.reads_first()), default=False)

    def notify(self) -> None:
        """Call `on_tick`. Whatever it raises is logged, once per run."""
        with self._failures.contained("the recording of energies", "it is tried again at the next reading"):
            self.on_tick()

    def mark_unresponsive(self, since_s: float) -> None:  # noqa: ARG002
        """Record that `on_tick` has not returned: other runs and all meters continue without it."""
        self.unresponsive = True

    def report_unresponsive(self) -> None:
        """Do nothing: the disk that it waits for is reported by what writes to it."""

    def uses(self, channel: Channel) -> bool:
        """Return True if this subscription includes a channel."""
        return channel in self._channels


class Sampler:
    """Reads meters in a background thread and keeps the joules of each device over time.

    A training thread never reads a meter: it asks for the energy between two of its timestamps. If a driver is
    unresponsive, a `Watchdog` starts another thread for the other meters. Each meter and each run is a boundary: what
    one raises, or how long it takes, costs no other.

    Args:
        clock: Source of the time.
        threaded: False leaves the calls of `tick` to the caller, who advances the clock: for tests in virtual time.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, threaded: bool = True) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self._threaded = threaded
        self._channels: dict[Device, Channel] = {}
        self._subscriptions: list[Subscription] = []
        self._wake = Flag()
        self._ticked = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failures = Failures()
        self._watchdog = Watchdog(clock, self.lock, self._start_thread)
        self._past_cpu_s = 0.0
        self._threads_cpu_s: dict[threading.Thread, float] = {}
        self._notified_s = self._asked_s = -math.inf
        self._settling = False

    @property
    def running(self) -> bool:
        """True if any run is being measured."""
        return bool(self._subscriptions)

    @property
    def cpu_s(self) -> float:
        """CPU seconds that the sampler's threads have used."""
        return self._past_cpu_s + sum(self._threads_cpu_s.copy().values())

    def subscribe(self, meters: Iterable[Meter], *, interval_s: float = 1.0) -> Subscription:
        """Start to read some meters, and wait up to 0.1 s for the first reading of each.

        The caller's next step may be a load that blocks all other threads, and the value of a counter cannot be read
        afterwards.

        Args:
            meters: Meters to read. A device that is read already keeps its present meter.
            interval_s: Longest time between two readings.
        """
        with self.lock:
            channels = [channel for meter in meters if (channel := self._channel_of(meter))]
            subscription = Subscription(self, channels, interval_s)
            self._subscriptions.append(subscription)
            if self._threaded and self._thread is None:
                self._start_thread()
                self._watchdog.start()
        self.wake()
        if self._threaded:
            # With a timeout: an unresponsive driver must not block the training.
            with self._ticked:
                self._ticked.wait_for(lambda: all(channel.read_s > -math.inf for channel in channels), _FIRST_READING_S)
        return subscription

    def release(self, subscription: Subscription) -> None:
        """End a subscription. With the last one, the thread ends."""
        with self.lock:
            if subscription not in self._subscriptions:
                return
            self._subscriptions.remove(subscription)
            self._channels = {key: channel for key, channel in self._channels.items() if self._needed(channel)}
            thread, idle = self._thread, not self._subscriptions
            if idle:
                self._thread = None
                self._watchdog.stop()
        if idle and thread is not None and thread is not threading.current_thread():
            self._join(thread)

    def wake(self) -> None:
        """Read as soon as possible."""
        if self._threaded:
            self._wake.set()

    def catch_up(self, channels: Sequence[Channel], timeout_s: float) -> None:
        """See :meth:`Subscription.catch_up`."""
        asked_s = self._asked_s = self.clock.monotonic()
        channels = [channel for channel in channels if channel.is_prompt(asked_s)]
        if not (self._threaded and channels):
            return
        self._wake.set()
        if not timeout_s:
            return
        with self._ticked:
            read_s = asked_s - _MIN_WAKE_GAP_S
            self._ticked.wait_for(lambda: all(channel.read_s >= read_s for channel in channels), timeout_s)

    def wait_until_settled(self, subscription: Subscription, time_s: float, timeout_s: float) -> None:
        """See :meth:`Subscription.wait_until_settled`."""
        if not self._threaded:
            return
        deadline_s = time.monotonic() + timeout_s
        # Gauges are read too: otherwise their last readings would stay in the driver.
        self._settling = True
        try:
            with self._ticked:
                while subscription.settled_s() < time_s and (left_s := deadline_s - time.monotonic()) > 0:
                    self._wake.set()
                    self._ticked.wait(min(left_s, 0.02))
        finally:
            self._settling = False

    def tick(self, *, woken: bool = False) -> float:
        """Read all meters that are due.

        Args:
            woken: True at the boundary of a phase: also read every meter whose value is current.

        Returns:
            Time of the next reading on the monotonic clock; ``math.inf`` if there is none.
        """
        if self._notification_is_due() and any(each.shows_first() for each in self._subscriptions.copy()):
            self._asked_s = self.clock.monotonic()
        for channel in self._in_order():
            if self._superseded():
                return math.inf
            if not channel.unresponsive and self._should_read(channel, woken=woken):
                self._read(channel)
        self._notify()
        with self.lock:
            self._prune()
            return min(
                (channel.due_s for channel in self._channels.values() if not channel.unresponsive), default=math.inf
            )

    def _channel_of(self, meter: Meter) -> Channel | None:
        """Return the channel of a meter, a new one unless its device is read already; None if the meter is broken."""
        try:
            channel = self._channels.get(meter.device) or Channel(meter)
            self._channels[meter.device] = channel
        except Exception:  # noqa: BLE001
            self._failures.failed(f"a meter, {type(meter).__name__},", "its device is not counted")
            return None
        return channel

    def _in_order(self) -> list[Channel]:
        """Return the channels; last those of a source that is unresponsive for another device, and may be for all."""
        channels = list(self._channels.values())
        silent = {channel.device.source for channel in channels if channel.unresponsive}
        return sorted(channels, key=lambda channel: channel.device.source in silent) if silent else channels

    def _should_read(self, channel: Channel, *, woken: bool) -> bool:
        now_s = self.clock.monotonic()
        if now_s >= channel.due_s:
            return True
        asked = channel.read_s < self._asked_s and channel.is_prompt(now_s)
        early = asked or (woken and channel.current) or self._settling
        return early and not channel.lost and now_s - channel.read_s > _MIN_WAKE_GAP_S

    def _prune(self) -> None:
        """Drop the points that no subscription may still ask for."""
        for channel in self._channels.values():
            channel.series.prune(
                min((each.floor_s for each in self._subscriptions if each.uses(channel)), default=math.inf)
            )

    def _notification_is_due(self) -> bool:
        """Return True if the runs should be notified; at each tick that would be expensive, with many short phases."""
        return self.clock.monotonic() - self._notified_s >= _NOTIFY_S

    def _notify(self) -> None:
        """Let the runs record final energies."""
        if self._notification_is_due():
            self._notified_s = self.clock.monotonic()
            for subscription in self._subscriptions.copy():
                if not subscription.unresponsive and not self._superseded():
                    self._watched(subscription, subscription.notify)

    def _watched(self, called: Called, call: Callable[[], object]) -> None:
        """Make a call that may not return."""
        pending = self._watchdog.begin(called)
        try:
            call()
        finally:
            with self.lock:
                self._watchdog.end(pending)

    def _read(self, channel: Channel) -> None:
        began_cpu_s = self._thread_cpu_s()
        self._watched(channel, lambda: channel.read(self.clock, self.lock))
        cost_s = self._thread_cpu_s() - began_cpu_s
        interval_s = min((each.interval_s for each in self._subscriptions if each.uses(channel)), default=1.0)
        channel.schedule(interval_s, cost_s)

    def _thread_cpu_s(self) -> float:
        """Return the CPU seconds of this thread; 0 in virtual time, in which a reading costs nothing."""
        return time.thread_time() if self._threaded else 0.0

    def _needed(self, channel: Channel) -> bool:
        return any(subscription.uses(channel) for subscription in self._subscriptions)

    def _superseded(self) -> bool:
        """Return True if the watchdog replaced this thread, or every run ended, during its last reading."""
        return self._threaded and self._thread is not threading.current_thread()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trainwatt-sampler", daemon=True)
        self._thread.start()

    def _join(self, thread: threading.Thread) -> None:
        """Wait for a thread to end, but not for an unresponsive driver, which must not block the training."""
        self._wake.set()
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        while thread.is_alive() and time.monotonic() < deadline_s and not self._watchdog.is_blocked(_MAX_SLEEP_S):
            thread.join(0.02)

    def _run(self) -> None:
        while self._thread is threading.current_thread():
            woken = self._wake.take()
            try:
                next_s = self.tick(woken=woken)
            # If the thread died, the rest of the run would be lost.
            except BaseException:  # noqa: BLE001
                self._failures.failed("a round of readings", "the next one is made")
                next_s = self.clock.monotonic() + _MAX_SLEEP_S
                # Whoever waits for readings asks for them again and again.
                time.sleep(_MAX_SLEEP_S)
            self._threads_cpu_s[threading.current_thread()] = time.thread_time()
            with self._ticked:
                self._ticked.notify_all()
            if not self._superseded():
                self._wake.wait(max(0.0, min(next_s - self.clock.monotonic(), _MAX_SLEEP_S)))
        with self.lock:
            self._past_cpu_s += self._threads_cpu_s.pop(threading.current_thread(), 0.0)


_shared: Sampler | None = None
_shared_lock = threading.Lock()


def shared_sampler() -> Sampler:
    """Return the sampler of this process, whose thread all runs share."""
    global _shared  # noqa: PLW0603
    with _shared_lock:
        _shared = _shared or Sampler()
        return _shared


def _forget_after_fork() -> None:
    """Forget the parent's sampler: a forked child has no sampler thread, and the parent may have held its locks."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
