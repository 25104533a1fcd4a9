"""A small kernel file that is read again and again."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SMALL_BYTES = 4096


class KeptFile:
    """A file whose descriptor is kept between reads: 0.8 us a read instead of 12.

    For files of sysfs, procfs and cgroupfs, which are made anew by each read from their start. A descriptor that
    fails or comes back empty is opened again once, in case the file was replaced, e.g. by a driver reload.

    Args:
        path: the file; opened at the first read.
        size: the most bytes that a read returns.
    """

    __slots__ = ("_fd", "_size", "path")

    def __init__(self, path: Path, *, size: int = _SMALL_BYTES) -> None:
        self.path = path
        self._size = size
        self._fd: int | None = None

    def read(self) -> str:
        """The file's text now.

        Raises:
            OSError: it cannot be opened or read.
        """
        return self._read_kept() or self._read_anew()

    def close(self) -> None:
        """Let go of the descriptor; a later read opens the file again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _read_kept(self) -> str:
        if self._fd is None:
            return ""
        try:
            return os.pread(self._fd, self._size, 0).decode("ascii", "replace")
        except OSError:
            return ""

    def _read_anew(self) -> str:
        self.close()
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._fd, self._size, 0).decode("ascii", "replace")

    def __del__(self) -> None:
        self.close()
