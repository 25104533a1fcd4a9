"""Forwarding of signals from a process to the command that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

# Faults of this process itself, what the system tells about its own files, terminal and children, and what cannot be
# caught. All others would end or stop this process, and leave the command alone.
_OWN = (
    *("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGPIPE", "SIGXFSZ", "SIGCHLD"),
    *("SIGKILL", "SIGSTOP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH", "SIGINFO"),
)
# Sent by the terminal to all processes in the foreground, so also to the command. The shell's `fg` sends the last one.
_OF_TERMINAL = ("SIGINT", "SIGQUIT", "SIGTSTP", "SIGCONT", "SIGBREAK")


def _numbers(names: tuple[str, ...]) -> frozenset[int]:
    return frozenset(getattr(signal, name) for name in names if hasattr(signal, name))


_SUSPEND = getattr(signal, "SIGTSTP", None)


class Forwarding:
    """Block in which signals go to a command instead of ending this process; ignored ones stay ignored.

    Attributes:
        early: the first signal that has come before there was a command; None if there was none.
    """

    def __init__(self) -> None:
        self.early: int | None = None
        self._pid: int | None = None
        self._is_over = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers; children inherit that a signal is ignored, but no handler."""
        for number in signal.valid_signals() - _numbers(_OWN):
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):
                self._before[number] = before
                signal.signal(number, self._forward)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the earlier handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, pid: int) -> None:
        """Forward signals to a process, also one that has come since it was started."""
        self._pid = pid
        if self.early is not None:
            self._send(self.early)

    def end(self) -> None:
        """Forward no more, because the process has ended; signals are ignored."""
        self._is_over = True

    def _forward(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # a handler's signature
        if self._is_over:
            return
        if self._pid is None:
            self.early = self.early or number
        elif number not in _numbers(_OF_TERMINAL) or not _in_foreground():
            self._send(number)
        if number == _SUSPEND:
            self._suspend(number)

    def _send(self, number: int) -> None:
        if self._pid is not None:
            # The process may have ended, or run as another user.
            with contextlib.suppress(OSError):
                os.kill(self._pid, number)

    def _suspend(self, number: int) -> None:
        """Stop until this process is continued, as it would without a handler."""
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._forward)


def _in_foreground() -> bool:
    """Return True if the terminal sends its signals to this process and the command alike."""
    if os.name == "nt":
        return True
    try:
        with Path(os.ctermid()).open(encoding="utf-8") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        # There is no controlling terminal.
        return False
