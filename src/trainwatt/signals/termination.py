"""Handling of SIGTERM and SIGHUP: the record is completed first, then the process ends as it would have.

Schedulers send SIGTERM before they kill a process, for example when SLURM pre-empts a job; a terminal that is closed
sends SIGHUP. Python's default is to die at once. If a framework or a user has a handler, that one stays and decides how
the run ends, and a signal that is ignored stays ignored. SIGUSR1 is never handled: Lightning uses it for SLURM's
requeueing only if nobody else does.

The handler only sends a byte. All else is done by a thread of its own, because the handler interrupts the main thread
anywhere, also where that holds a lock. The byte comes as well if the main thread is in native code, unless that keeps
Python's global lock.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from trainwatt.signals.deferral import never_hold
from trainwatt.signals.main_thread import call_in_main_thread
from trainwatt.signals.wakeup import WakeUp

# Longest time for the end of the record. Schedulers that kill soonest do so 10 s after SIGTERM.
LONGEST_S = 8.0
_DEATH_S = 1.0
# Sent to the thread besides the numbers of signals.
_STOP, _FLUSH = 0, 255

_NUMBERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class _Watch:
    """State of the process, which has one set of signal handlers.

    Attributes:
        finish, flush: see :func:`watch`; None while nothing is measured.
        wakeup: brings the signals to the thread; None without one.
        is_ending: True as soon as a signal ends the process.
    """

    def __init__(self) -> None:
        self.finish: Callable[[], object] | None = None
        self.flush: Callable[[], object] | None = None
        self.wakeup: WakeUp | None = None
        self.is_ending = False

    def install(self) -> None:
        """Install the handlers and start the thread; in the main thread."""
        # The run may have ended before the main thread got here.
        if self.finish is None:
            return
        for number in _NUMBERS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _on_signal)
        if self.wakeup is None and _installed():
            wakeup = WakeUp()
            threading.Thread(target=self._serve, args=(wakeup,), name="trainwatt-signals", daemon=True).start()
            self.wakeup = wakeup
            wakeup.install()

    def uninstall(self) -> None:
        """Restore the defaults and stop the thread; in the main thread."""
        # Another run may have begun before the main thread got here.
        if self.finish is not None:
            return
        wakeup, self.wakeup = self.wakeup, None
        _restore_defaults()
        if wakeup is not None:
            wakeup.uninstall()
            wakeup.send(_STOP)

    def forget(self) -> None:
        """Give a forked child, such as a data loader's worker, the defaults: the runs are those of its parent."""
        wakeup = self.wakeup
        self.__init__()  # type: ignore[misc]
        _restore_defaults()
        if wakeup is not None:
            wakeup.uninstall()
            wakeup.close()

    def _serve(self, wakeup: WakeUp) -> None:
        """Do what the signals ask for; in a thread of its own."""
        while (code := wakeup.receive()) != _STOP:
            if code == _FLUSH:
                _call_safely(self.flush)
                continue
            wakeup.forward(code)
            # The default is back if the signal came while the last run ended.
            if code in _NUMBERS and signal.getsignal(code) in (_on_signal, signal.SIG_DFL):
                self._end(code)
        wakeup.close()

    def _end(self, number: int) -> None:
        """Complete the records, and end the process by the signal."""
        self.is_ending = True
        finishing = threading.Thread(target=_call_safely, args=(self.finish,), name="trainwatt-finish", daemon=True)
        # The process may have no more threads.
        with contextlib.suppress(RuntimeError):
            finishing.start()
            finishing.join(LONGEST_S)
        _die(number)


_watch = _Watch()


def watch(finish: Callable[[], object], flush: Callable[[], object]) -> None:
    """Handle each of the signals whose default is in place.

    Only the main thread may install a handler: if this is another one, the main thread is asked to.

    Args:
        finish: called in another thread before the process ends by a signal.
        flush: called there if another handler calls ours, and so decides what happens.
    """
    _watch.finish, _watch.flush = finish, flush
    if os.name == "posix":
        call_in_main_thread(_watch.install, nudge=True)


def unwatch() -> None:
    """Restore the defaults, unless other handlers have been installed since."""
    _watch.finish = _watch.flush = None
    if os.name == "posix" and not _watch.is_ending:
        call_in_main_thread(_watch.uninstall)


@never_hold
def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's signature
    wakeup, is_installed = _watch.wakeup, signal.getsignal(number) is _on_signal
    if wakeup is not None:
        wakeup.send(number if is_installed else _FLUSH)
    elif is_installed:
        # Nothing is measured: somebody has put this handler back since.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _installed() -> list[int]:
    return [number for number in _NUMBERS if signal.getsignal(number) is _on_signal]


def _restore_defaults() -> None:
    for number in _installed():
        signal.signal(number, signal.SIG_DFL)


def _call_safely(function: Callable[[], object] | None) -> None:
    # Whatever it is, the process was asked to end.
    with contextlib.suppress(Exception):
        if function is not None:
            function()


def _die(number: int) -> None:
    # Importing it takes milliseconds, and few processes end by a signal.
    import ctypes  # noqa: PLC0415

    # `signal.signal` is for the main thread only, which may be in native code.
    restore = ctypes.CDLL(None).signal
    restore.argtypes, restore.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    restore(number, None)
    os.kill(os.getpid(), number)
    time.sleep(_DEATH_S)
    os.kill(os.getpid(), signal.SIGKILL)


@atexit.register
def _wait_for_end() -> None:
    """Wait for the end by a signal: a program that ends meanwhile must not end otherwise."""
    if _watch.is_ending:
        time.sleep(LONGEST_S + _DEATH_S)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watch.forget)
