"""Small kernel file that is read repeatedly."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SMALL_BYTES = 4096


class KeptFile:
    """File whose descriptor stays open between reads: 0.8 us per read instead of 12.

    For files of sysfs, procfs and cgroupfs, which the kernel generates at each read from their start. If a read fails
    or returns nothing, the file is opened again once, as it may have been replaced, e.g. by a driver reload.

    Args:
        path: The file; opened at the first read.
        size: Largest number of bytes that a read returns.
    """

    __slots__ = ("_fd", "_size", "path")

    def __init__(self, path: Path, *, size: int = _SMALL_BYTES) -> None:
        self.path = path
        self._size = size
        self._fd: int | None = None

    def read(self) -> str:
        """Read the present text of the file.

        Raises:
            OSError: The file cannot be opened or read.
        """
        return self._read_open() or self._reopen()

    def close(self) -> None:
        """Close the descriptor. A later read opens the file again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _read_open(self) -> str:
        if self._fd is None:
            return ""
        try:
            return os.pread(self._fd, self._size, 0).decode("ascii", "replace")
        except OSError:
            return ""

    def _reopen(self) -> str:
        self.close()
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._fd, self._size, 0).decode("ascii", "replace")

    def __del__(self) -> None:
        self.close()
