"""An event that a signal handler cannot leave half-way."""

from __future__ import annotations

import threading


class Flag:
    """Event for one waiting thread, like :class:`threading.Event`, but built of a single lock.

    A handler that raises within ``Event.set`` leaves its lock taken for ever, and one that calls it again waits for
    ever. Taking and releasing this lock is one step each.
    """

    def __init__(self) -> None:
        # Taken as long as the flag is not set.
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Set the flag."""
        try:
            self._lock.release()
        except RuntimeError:
            # It was set already.
            return

    def take(self) -> bool:
        """Return True if the flag was set; it is not any more."""
        return self._lock.acquire(blocking=False)

    def wait(self, timeout_s: float) -> None:
        """Wait until the flag is set, which it stays."""
        if self._lock.acquire(timeout=timeout_s):
            self.set()
