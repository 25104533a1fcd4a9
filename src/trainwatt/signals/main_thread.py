"""Calls from other threads into the main thread, which alone may install signal handlers."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

# Time in which a main thread that runs Python takes up a call.
_PROMPT_S = 0.05
# Changes nothing by default, and may come at any time: each change of a terminal's size sends it.
_NUDGE = getattr(signal, "SIGWINCH", None)

# The interpreter holds no reference to a function that it is to call.
_calls: dict[object, Any] = {}


def is_main_thread() -> bool:
    """Return True in the main thread."""
    return threading.get_ident() == threading.main_thread().ident


def call_in_main_thread(function: Callable[[], object], *, nudge: bool = False) -> None:
    """Call a function in the main thread: now, or from another thread soon, between two of its bytecodes.

    Nothing is called on an interpreter other than CPython. A main thread that is in native code calls it afterwards.

    Args:
        function: should be short; its exceptions are ignored.
        nudge: wait for the call for a moment, and interrupt a main thread that waits for a lock or for another thread,
            so that it takes notice.
    """
    if is_main_thread():
        function()
        return
    if sys.implementation.name != "cpython":
        return
    done = threading.Event()
    if _add_call(function, done) and nudge and not done.wait(_PROMPT_S) and os.name == "posix":
        _interrupt_wait(done)


def _add_call(function: Callable[[], object], done: threading.Event) -> bool:
    # Importing it takes milliseconds, and few runs begin in another thread.
    import ctypes  # noqa: PLC0415

    key = object()

    def called(_: int | None) -> int:
        try:
            with contextlib.suppress(Exception):
                function()
        except KeyboardInterrupt:
            # The interpreter would print and drop it.
            _thread.interrupt_main()
        finally:
            done.set()
            _calls.pop(key, None)
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(called)
    _calls[key] = callback
    if ctypes.pythonapi.Py_AddPendingCall(callback, None):
        del _calls[key]
        return False
    return True


def _interrupt_wait(done: threading.Event) -> None:
    """Interrupt the main thread's wait in the system by a signal that does nothing."""
    main = threading.main_thread().ident
    if _NUDGE is None or main is None or signal.getsignal(_NUDGE) is not signal.SIG_DFL:
        return
    import ctypes  # noqa: PLC0415

    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    # A function of a number that does nothing with it: the signal interrupts the wait, and that is all.
    library.signal(_NUDGE, ctypes.cast(library.abs, ctypes.c_void_p))
    signal.siginterrupt(_NUDGE, True)
    try:
        for _ in range(10):
            signal.pthread_kill(main, _NUDGE)
            if done.wait(_PROMPT_S / 10):
                break
    finally:
        # The last signal may still be on its way.
        time.sleep(0.001)
        library.signal(_NUDGE, None)
