"""Writing of a file as a whole, in a folder that others may write to as well.

The new content first gets a temporary name of its own, which is made anew and follows no link. A reader sees the old
file or the new one, never a part. A link in place of the file is replaced and never followed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from trainwatt.files.names import shortened

# Missing on Windows, where a link cannot be planted without a privilege.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
# A pipe in place of the file is an error, not a wait for its reader.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _CLOSE_ON_EXEC | _BINARY
OLD_FILE = os.O_RDWR | os.O_APPEND | _NO_FOLLOW | _CLOSE_ON_EXEC | _BINARY | _NO_WAIT

# Enough of a file to tell whose it is.
_HEAD_BYTES = 65_536


class ForeignFileError(FileExistsError):
    """A file that somebody else has written is in the way.

    Args:
        path: the file.
        remedy: how to go on.
    """

    def __init__(self, path: Path, remedy: str) -> None:
        super().__init__(f"{path} exists and is not from trainwatt; {remedy}")


def replace(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file as a whole, in place of any that is there. Its mode is kept; a new one gets that of the umask.

    Args:
        path: the file.
        content: what it shall hold.
        durable: wait until it is on the disk.

    Raises:
        OSError: if it cannot be written; the old file is as it was.
    """
    temporary = path.with_name(shortened(f".{path.name}", f".{secrets.token_hex(8)}.new"))
    descriptor = os.open(temporary, NEW_FILE, 0o666)
    try:
        try:
            _keep_mode(path, descriptor)
            write_all(descriptor, content)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_output(path: Path, content: str | bytes, *, is_ours: Callable[[bytes], bool], force: bool = False) -> None:
    """Write a file that a user asked for, in place of an earlier one of ours only.

    Args:
        path: the file; a terminal, a device or a pipe is written to as it is.
        content: what it shall hold; a text is written as UTF-8.
        is_ours: tells from the beginning of an existing file if it may be replaced.
        force: replace whatever file is there.

    Raises:
        ForeignFileError: if a file is there that is not ours.
        OSError: if it cannot be written.
    """
    encoded = content.encode() if isinstance(content, str) else content
    if _is_stream(path):
        path.write_bytes(encoded)
        return
    if not force and not may_replace(path, is_ours):
        raise ForeignFileError(path, "give another name, or --force to replace it")
    replace(path, encoded)


def may_replace(path: Path, is_ours: Callable[[bytes], bool]) -> bool:
    """Return True if no file is there, or an empty one, or one of ours.

    Args:
        path: the file.
        is_ours: tells from the beginning of a file if it is ours.

    Raises:
        OSError: if it cannot be read, or is a folder.
    """
    try:
        # Not a link's target: the link itself would be replaced.
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(f"{path} is a folder: expected the name of a file")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head or is_ours(head)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes to a file.

    Raises:
        OSError: if they cannot be written; a part may be.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _is_stream(path: Path) -> bool:
    """Return True for a device or a pipe, such as ``/dev/stdout``: there is nothing to replace."""
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    return False


def _keep_mode(path: Path, descriptor: int) -> None:
    """Give a file the mode of the one that it will replace, if there is one and it is no link."""
    with contextlib.suppress(OSError, AttributeError):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            os.fchmod(descriptor, stat.S_IMODE(mode) & 0o777)
