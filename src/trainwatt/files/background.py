"""Work in a thread of its own, which nobody has to wait for longer than he wants to.

A call on a disk may hang for ever, and no time limit and no signal ends it. So it is made in a daemon thread, which
does not keep the process alive.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

R = TypeVar("R")

# After so long without work the thread ends; the next call starts another one.
_IDLE_S = 5.0
# Time between two tries of work that could not be done.
_RETRY_S = 1.0
# A thread that has hung for longer than a limit is given this much longer.
_LEAST_S = 0.5
# Longest wait of the end of a process for work that is not done yet.
_AT_EXIT_S = 30.0

Ticket = queue.SimpleQueue[None]


class Background:
    """A function that is called in a thread whenever it is asked for, never twice at the same time.

    No method takes a lock that a signal handler could find taken by the thread it has interrupted, except a reentrant
    one. In a forked child, which has no such thread, all methods do nothing.

    Args:
        work: the function; returns True if something is left to do, to be tried again in a second. Must not raise.
        name: of the thread.
    """

    def __init__(self, work: Callable[[], bool], name: str) -> None:
        self._work, self._name = work, name
        self._pid = os.getpid()
        self._requests: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._starting = threading.RLock()
        self._worker: threading.Thread | None = None
        # Time at which the present call began, on the monotonic clock; None between calls.
        self._busy_since_s: float | None = None
        self._left = False
        _all.add(self)

    def wake(self) -> None:
        """Ask for a call of the function, and return at once."""
        self._request(None)

    def wait(self, limit_s: float) -> bool:
        """Ask for a call of the function, and wait until it is over.

        Args:
            limit_s: longest wait. If the present call has been going on for long already, the wait is that much
                shorter.

        Returns:
            True if it is over.
        """
        ticket = Ticket()
        if not self._request(ticket):
            return False
        since_s = self._busy_since_s
        busy_s = time.monotonic() - since_s if since_s is not None else 0.0
        try:
            ticket.get(timeout=max(min(_LEAST_S, limit_s), limit_s - busy_s))
        except queue.Empty:
            return False
        return True

    @property
    def is_at_work(self) -> bool:
        """True if its thread is there, with something to do or without."""
        return self._worker is not None and self._pid == os.getpid()

    def _request(self, ticket: Ticket | None) -> bool:
        if os.getpid() != self._pid:
            return False
        # While the thread hangs, requests without a ticket are not piled up.
        if ticket is not None or self._requests.empty():
            self._requests.put(ticket)
        with self._starting:
            if self._worker is None:
                self._start()
        return True

    def _start(self) -> None:
        """Start the thread; if the process may have no more, do the work here."""
        self._worker = threading.Thread(target=self._loop, name=self._name, daemon=True)
        try:
            self._worker.start()
        except RuntimeError:
            self._worker = None
            self._do(self._taken())

    def _loop(self) -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                first = self._requests.get(timeout=_RETRY_S if self._left else _IDLE_S)
                self._do([first, *self._taken()])
                continue
            if self._left:
                self._do([])
            elif self._is_over():
                return

    def _is_over(self) -> bool:
        with self._starting:
            # A request is put before the thread is looked at, so none is lost.
            if not self._requests.empty():
                return False
            self._worker = None
            return True

    def _taken(self) -> list[Ticket | None]:
        taken = []
        while not self._requests.empty():
            taken.append(self._requests.get())
        return taken

    def _do(self, tickets: list[Ticket | None]) -> None:
        self._busy_since_s = time.monotonic()
        try:
            self._left = self._work()
        finally:
            self._busy_since_s = None
            for ticket in tickets:
                if ticket is not None:
                    ticket.put(None)


_all: weakref.WeakSet[Background] = weakref.WeakSet()


@atexit.register
def settle(limit_s: float = _AT_EXIT_S) -> None:
    """Wait for all work that was asked for in this process; at its end too, such as after an interrupt.

    Args:
        limit_s: longest wait.
    """
    until_s = time.monotonic() + limit_s
    for each in list(_all):
        if each.is_at_work:
            each.wait(max(0.0, until_s - time.monotonic()))


class _Result(Generic[R]):
    def __init__(self, call: Callable[[], R]) -> None:
        self._call = call
        self.done = Ticket()
        self.value: R
        self.error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self.value = self._call()
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits
            self.error = error
        finally:
            self.done.put(None)


def within(limit_s: float, call: Callable[[], R]) -> R:
    """Call a function that uses a disk, and wait for it for a limited time.

    Args:
        limit_s: longest wait.
        call: the function. If it hangs, its thread is left behind.

    Raises:
        TimeoutError: if it is not over by then.
    """
    result = _Result(call)
    try:
        threading.Thread(target=result, name="trainwatt-disk", daemon=True).start()
    except RuntimeError:
        # The process may have no more threads.
        return call()
    try:
        result.done.get(timeout=limit_s)
    except queue.Empty:
        raise TimeoutError(f"the disk did not answer within {limit_s:.0f} s") from None
    if result.error is not None:
        raise result.error
    return result.value
