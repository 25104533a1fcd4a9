"""Watchdog for a sampler thread that is blocked inside a driver, or in a run that records its energies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from trainwatt.clock import Clock

# A call that takes longer is abandoned to its thread.
_UNRESPONSIVE_S = 1.0


class Called(Protocol):
    """What the sampler's thread calls, and what may not return.

    Attributes:
        unresponsive: True while a call has not returned for too long; the sampler makes no other meanwhile.
    """

    unresponsive: bool

    def mark_unresponsive(self, since_s: float) -> None:
        """Record that the call that began at ``since_s`` has not returned. The sampler's lock is held."""
        ...

    def report_unresponsive(self) -> None:
        """Log it, once."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PendingCall:
    """Call in progress.

    Attributes:
        called: Device that is being read, or run that is being notified.
        began_s: Start of the call, as given by `time.monotonic`.
    """

    called: Called
    began_s: float

    @property
    def takes_s(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self.began_s


class Watchdog:
    """Detects a call that does not return, and has the sampler continue in a new thread.

    The blocked thread is left inside the call. If a reading returns after all, it is used.

    Args:
        clock: Source of the time at which a device became unresponsive.
        lock: The sampler's lock.
        start_thread: Starts another sampler thread for the other meters.
    """

    def __init__(self, clock: Clock, lock: AbstractContextManager[object], start_thread: Callable[[], object]) -> None:
        self._clock = clock
        self._lock = lock
        self._start_thread = start_thread
        self._pending: PendingCall | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start to watch, in a daemon thread. The caller holds the lock."""
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, args=(self._stopped,), name="trainwatt-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop watching. The caller holds the lock."""
        self._stopped.set()

    def begin(self, called: Called) -> PendingCall:
        """Record that a call begins, and return it for `end`."""
        self._pending = pending = PendingCall(called, time.monotonic())
        return pending

    def end(self, pending: PendingCall) -> None:
        """Record that a call has returned. The caller holds the lock."""
        pending.called.unresponsive = False
        if self._pending is pending:
            self._pending = None

    def is_blocked(self, after_s: float) -> bool:
        """Return True if the current call has taken longer than ``after_s``."""
        pending = self._pending
        return pending is not None and pending.takes_s > after_s

    def _watch(self, stopped: threading.Event) -> None:
        seen: PendingCall | None = None
        while not stopped.wait(_UNRESPONSIVE_S / 2):
            pending = self._pending
            # Seen twice in a row: if the whole process got no CPU time, a single look proves nothing.
            if pending is not None and pending is seen and pending.takes_s > _UNRESPONSIVE_S:
                self._abandon(pending)
            seen = pending

    def _abandon(self, pending: PendingCall) -> None:
        with self._lock:
            if self._pending is not pending or self._stopped.is_set():
                return
            self._pending = None
            pending.called.mark_unresponsive(self._clock.monotonic() - pending.takes_s)
            self._start_thread()
        # Without the lock: a log may lead anywhere.
        pending.called.report_unresponsive()
