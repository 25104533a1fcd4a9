"""A file of lines that grows, and that can be made again if it is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path

from trainwatt.files.output_file import NEW_FILE, OLD_FILE, replace, write_all

# Lines kept for the next write while the disk is full or away.
_MOST_WAITING = 10_000
# Bytes of written lines that are kept, in case the file is lost.
_MOST_KEPT_BYTES = 4 << 20


# A link, a pipe without a reader, a folder, a file in place of the folder.
_TAKEN = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENOTDIR}


class TakenError(OSError):
    """Something that is not ours has taken the place of the file."""


class LineFile:
    """Lines that one thread of one process appends to a file.

    All lines are kept, up to a bound, so that the file can be made again if it is deleted or cut. Beyond the bound the
    oldest ones go, but never those that are pinned.

    Args:
        lost: makes the line that says how many others are missing.
    """

    def __init__(self, lost: Callable[[int], bytes]) -> None:
        self._lost = lost
        self._pinned: list[bytes] = []
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._dropped_written = 0
        self._dropped_waiting = 0
        # Of the file as it was left; None before it is made.
        self._size: int | None = None

    @property
    def is_complete(self) -> bool:
        """True if all lines are written."""
        return not self._waiting

    def add(self, line: bytes, *, pinned: bool = False) -> None:
        """Add a line for the next write.

        Args:
            line: ends with a newline.
            pinned: keep it however many follow.
        """
        self._waiting.append((line, pinned))
        if len(self._waiting) > _MOST_WAITING:
            oldest = next((number for number, (_, is_pinned) in enumerate(self._waiting) if not is_pinned), 0)
            del self._waiting[oldest]
            self._dropped_waiting += 1

    def write(self, path: Path) -> None:
        """Append the lines that wait, after making sure that the file is still there and still ours.

        Raises:
            FileNotFoundError: if it is gone; see :meth:`forget_file`.
            TakenError: if another file has taken its place.
            OSError: if it cannot be written; all lines wait for the next write.
        """
        if self._size is None:
            if self._waiting or self._pinned or self._kept:
                self._make(path, _create)
        elif not self._append(path):
            self._make(path, replace)
        self._written()

    def forget_file(self) -> None:
        """Write all lines into a new file next time."""
        self._size = None

    def _append(self, path: Path) -> bool:
        """Append the lines that wait; return False if the file is cut."""
        try:
            descriptor = os.open(path, OLD_FILE)
        except OSError as error:
            if error.errno in _TAKEN:
                raise TakenError(*error.args) from error
            raise
        try:
            size = self._checked_size(path, descriptor)
            if size < (self._size or 0):
                return False
            self._size = size + _append(descriptor, size, self._new_lines())
        finally:
            os.close(descriptor)
        return True

    def _checked_size(self, path: Path, descriptor: int) -> int:
        """Return the size of the file.

        Raises:
            TakenError: if the file is not ours: it is no file, or begins differently.
        """
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise TakenError(errno.EEXIST, "it is no file", str(path))
        # Its size and its inode may be those of the old file by chance.
        head = self._pinned[0] if self._pinned else b""
        os.lseek(descriptor, 0, os.SEEK_SET)
        if os.read(descriptor, len(head)) != head[: found.st_size]:
            raise TakenError(errno.EEXIST, "it is another's", str(path))
        return found.st_size

    def _make(self, path: Path, write: Callable[[Path, bytes], None]) -> None:
        """Write all lines that are known into the file."""
        lines = [*self._kept, *(line for line, pinned in self._waiting if not pinned)]
        pinned = [*self._pinned, *(line for line, pinned in self._waiting if pinned)]
        lost = self._dropped_written + self._dropped_waiting
        lines = [*pinned, *([self._lost(lost)] if lost else []), *lines]
        content = b"".join(lines)
        write(path, content)
        self._size = len(content)

    def _new_lines(self) -> bytes:
        said = [self._lost(self._dropped_waiting)] if self._dropped_waiting else []
        return b"".join([*said, *(line for line, _ in self._waiting)])

    def _written(self) -> None:
        """Keep the lines that have just been written."""
        self._dropped_written, self._dropped_waiting = self._dropped_written + self._dropped_waiting, 0
        while self._waiting:
            line, pinned = self._waiting.popleft()
            if pinned:
                self._pinned.append(line)
            else:
                self._kept.append(line)
                self._kept_bytes += len(line)
        while self._kept_bytes > _MOST_KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft())
            self._dropped_written += 1


def append_lines(path: Path, content: bytes) -> None:
    """Append lines to a file that others may append to as well, all or none; make it if it is missing.

    Args:
        path: the file.
        content: ends with a newline.

    Raises:
        OSError: if it cannot be written, or is a link.
    """
    try:
        descriptor = os.open(path, OLD_FILE | os.O_CREAT, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise OSError(f"{path} is a link: expected the file that it leads to") from error
        raise
    try:
        _append(descriptor, os.fstat(descriptor).st_size, content)
    finally:
        os.close(descriptor)


def _append(descriptor: int, size: int, content: bytes) -> int:
    """Append all bytes, or none: a partial write is cut off as far as the disk allows. Return their number."""
    if not content:
        return 0
    if size and _last_byte(descriptor, size) != b"\n":
        # The rest of a write that failed; readers skip it.
        content = b"\n" + content
    try:
        write_all(descriptor, content)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
    return len(content)


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


def _create(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, NEW_FILE | os.O_APPEND, 0o666)
    except FileExistsError as error:
        raise TakenError(*error.args) from error
    try:
        write_all(descriptor, content)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)
