"""A process that is asked to end, by SIGTERM: the record is completed first, and it ends as it would have.

Schedulers ask in this way before they kill, SLURM's pre-emption among them. Python's default is to die at once. Where
a framework or a user has a handler, that one stays, and the run ends as it lets it. SIGUSR1 is left alone altogether:
Lightning takes it for SLURM's requeueing only where nobody else has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


def _nothing() -> object:
    """Nothing is being measured."""
    return None


_finish: Callable[[], object] = _nothing
_flush: Callable[[], object] = _nothing
_pid = 0


def watch(finish: Callable[[], object], flush: Callable[[], object]) -> None:
    """Handle SIGTERM where its default is in place; from the main thread only, as Python demands.

    Args:
        finish: called before the process ends by the signal.
        flush: called instead where another handler calls ours, and so decides what happens.
    """
    global _finish, _flush, _pid  # a process has one SIGTERM
    _finish, _flush, _pid = finish, flush, os.getpid()
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def unwatch() -> None:
    """Put the default back, unless someone else has put something there since."""
    global _finish, _flush  # noqa: PLW0603  # see above
    _finish = _flush = _nothing
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _on_sigterm(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's signature
    ours = os.getpid() == _pid  # a forked worker inherits the handler, not the runs
    if signal.getsignal(number) is not _on_sigterm:
        if ours:
            _flush()
        return
    with contextlib.suppress(Exception):  # whatever it is, the process was asked to end
        if ours:
            _finish()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
