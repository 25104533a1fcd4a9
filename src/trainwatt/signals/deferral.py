"""Deferral of the user's signal handlers while a hook of ours runs in the main thread.

A handler, such as Python's own for Ctrl-C, may raise between any two bytecodes. Inside a hook this would leave half of
a change behind, or a lock that nobody releases. So the handlers are called when the outermost hook has ended.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any

# The functions of `signal` turn each number into an enumeration, which takes ten times as long.
_raw: Any = importlib.import_module("_signal")

_Handler = Callable[[int, FrameType | None], Any]
Held = list[tuple[int, _Handler]]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2")
_NUMBERS = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))
# Whoever sends a signal so often does not want to wait any longer.
_PATIENCE = 3

# Handlers that may be called at any time, because they do not raise.
_harmless: set[_Handler] = set()
# Signals that have come meanwhile: how often, and the frame that the last one has interrupted.
_pending: dict[int, tuple[int, FrameType | None]] = {}
_held: dict[int, _Handler] = {}


# In a list, because a forked child, whose only thread is the main one, may have been forked by another one.
_main_thread = [threading.main_thread().ident]


def never_hold(handler: _Handler) -> _Handler:
    """Let a handler be called at any time, because it never raises; a decorator."""
    _harmless.add(handler)
    return handler


def hold() -> Held | None:
    """Defer the handlers from now on, until :func:`release` is called with the returned value.

    Calls may be nested. In another thread than the main one, to which signals mean nothing, return None.
    """
    if threading.get_ident() != _main_thread[0]:
        return None
    before: Held = []
    try:
        for number in _NUMBERS:
            handler = _raw.getsignal(number)
            if handler is not _defer and callable(handler) and handler not in _harmless:
                before.append((number, handler))
                _held[number] = handler
                _raw.signal(number, _defer)
    except BaseException:
        # A handler has raised before it was deferred.
        _restore(before)
        raise
    return before


def release(before: Held | None) -> None:
    """Put the handlers back, and call those whose signals have come meanwhile.

    Args:
        before: from :func:`hold`.

    Raises:
        BaseException: whatever a handler raises, such as KeyboardInterrupt.
    """
    if before:
        _restore(before)
        if _pending:
            _deliver(before)


class held:  # noqa: N801  # used like a function
    """Block in which the handlers are deferred; see :func:`hold`."""

    def __enter__(self) -> None:
        """Defer the handlers."""
        self._before = hold()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Call them; see :func:`release`."""
        release(self._before)


def is_from_handler(error: BaseException | None) -> bool:
    """Return True if a signal handler has raised an exception, or has called what has: it is the user's, not ours."""
    codes = {code for number in signal.valid_signals() if (code := _code(_raw.getsignal(number))) is not None}
    trace = error.__traceback__ if error is not None else None
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _code(handler: Any) -> CodeType | None:
    """Return the code of a handler; None of one that is not written in Python."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    for function in (getattr(handler, "__func__", handler), vars(type(handler)).get("__call__")):
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


def _defer(number: int, frame: FrameType | None) -> None:
    times = _pending.get(number, (0, None))[0] + 1
    _pending[number] = times, frame
    if times >= _PATIENCE:
        del _pending[number]
        _held[number](number, frame)


def _restore(before: Held) -> None:
    for number, handler in before:
        # Unless somebody has installed another one meanwhile.
        if _raw.getsignal(number) is _defer:
            _raw.signal(number, handler)


def _deliver(before: Held) -> None:
    for index, (number, handler) in enumerate(before):
        if number in _pending:
            _, frame = _pending.pop(number)
            try:
                handler(number, frame)
            finally:
                _deliver(before[index + 1 :])
            return


def _find_main_thread() -> None:
    _main_thread[0] = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)
