"""Numbers of signals, received in any thread as soon as they arrive.

Python calls a signal handler between two bytecodes of the main thread, so never while that is in native code. But the
interpreter also writes the number to a file descriptor at once, see :func:`signal.set_wakeup_fd`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys

_CREDENTIALS = struct.Struct("3i")
# Missing on systems other than Linux; mypy knows the attributes of one system only.
_PASS_CREDENTIALS = getattr(socket, "SO_PASSCRED", None) if sys.platform == "linux" else None


class WakeUp:
    """Receiver of signals; the descriptor of somebody else, such as that of asyncio, still gets all of them.

    Both ends are made by this process and inherited by forked children. A signal that such a child gets before it has
    closed them arrives here too, so on Linux each number is read with the id of the process that has written it.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        if _PASS_CREDENTIALS is not None:
            self._receiver.setsockopt(socket.SOL_SOCKET, _PASS_CREDENTIALS, 1)
        self._sender.setblocking(False)
        self._before = -1
        self._forward = -1

    def install(self) -> None:
        """Receive the signals of this process from now on; in the main thread only."""
        before = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        if before not in (-1, self._sender.fileno()):
            self._before = before
            # A copy stays what it is, even if the number is used for another file later.
            with contextlib.suppress(OSError):
                self._forward = os.dup(before)

    def uninstall(self) -> None:
        """Give the signals back to whoever received them before; in the main thread only."""
        before = self._before if self._is_still_open() else -1
        now = signal.set_wakeup_fd(before)
        if now != self._sender.fileno():
            # Somebody has taken over meanwhile.
            signal.set_wakeup_fd(now)

    def send(self, code: int) -> None:
        """Send a number to the receiver; callable in a signal handler."""
        with contextlib.suppress(OSError):
            self._sender.send(bytes((code,)))

    def receive(self) -> int:
        """Wait for the next number, and return it."""
        while True:
            message, credentials, _, _ = self._receiver.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
            if message and all(_CREDENTIALS.unpack(each)[0] == os.getpid() for _, _, each in credentials):
                return message[0]

    def forward(self, number: int) -> None:
        """Pass a signal on to whoever received it before."""
        if self._forward >= 0:
            with contextlib.suppress(OSError):
                os.write(self._forward, bytes((number,)))

    def close(self) -> None:
        """Close both ends."""
        self._receiver.close()
        self._sender.close()
        if self._forward >= 0:
            os.close(self._forward)
            self._forward = -1

    def _is_still_open(self) -> bool:
        """Return True if the earlier descriptor is still the same file."""
        try:
            return self._forward >= 0 and os.path.sameopenfile(self._before, self._forward)
        except OSError:
            return False
