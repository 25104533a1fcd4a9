"""Handling of SIGTERM: the record is completed first, then the process ends as it would have.

Schedulers send it before they kill a process, for example when SLURM pre-empts a job. Python's default is to die at
once. If a framework or a user has a handler, that one stays and decides how the run ends. SIGUSR1 is never handled:
Lightning uses it for SLURM's requeueing only if nobody else does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


def _nothing() -> object:
    """Do nothing while nothing is measured."""
    return None


_finish: Callable[[], object] = _nothing
_flush: Callable[[], object] = _nothing
_pid = 0


def watch(finish: Callable[[], object], flush: Callable[[], object]) -> None:
    """Handle SIGTERM if its default is in place; from the main thread only, as Python demands.

    Args:
        finish: called before the process ends by the signal.
        flush: called instead if another handler calls ours, and so decides what happens.
    """
    global _finish, _flush, _pid  # a process has one SIGTERM
    _finish, _flush, _pid = finish, flush, os.getpid()
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def unwatch() -> None:
    """Restore the default, unless another handler has been installed since."""
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
