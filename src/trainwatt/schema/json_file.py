"""Reading of JSON files that may be damaged, huge, or no files at all: none blocks, and memory stays bounded."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from io import BufferedReader
from pathlib import Path
from typing import Any

from trainwatt.schema.shape import DEEPEST, encodable, is_shallow

# A job of a thousand ranks writes a summary of about 30 MB.
MOST_BYTES = 128 * 2**20
# The longest lines are power histories and a person's notes.
MOST_LINE_BYTES = 4 * 2**20
_MAY_BE_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class EncodingError(ValueError):
    """A file that is not in UTF-8. The message names the file."""


class NotJsonError(ValueError):
    """A text that is no JSON, such as one that was cut short. The message tells why, without the file."""


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading, and nothing that could block or act, such as a named pipe or a device.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read.
        ValueError: if it is no regular file.
    """
    descriptor = _opened(path)
    try:
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_head(path: str | os.PathLike[str], size: int) -> bytes:
    """Return the first bytes of a regular file.

    Raises:
        OSError, ValueError: as of :func:`open_regular`.
    """
    descriptor = _opened(path)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _opened(path: str | os.PathLike[str]) -> int:
    # Opening a device may act on it, so that its kind is checked before. It may have been replaced since then.
    try:
        mode = Path(path).stat().st_mode
    except ValueError as error:
        # A path with NUL is none that any system knows.
        raise ValueError(f"{os.fspath(path)!r}: {error}") from None
    _check_regular(path, mode)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise ValueError(f"{os.fspath(path)}: {kind}, not a file")


def read_text(path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES, marked: bool = False) -> str:
    """Return the text of a regular file in UTF-8, with or without a byte order mark.

    Args:
        path: of the file.
        most_bytes: size of the largest file that is read.
        marked: keep a byte order mark.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read.
        EncodingError: if it is not in UTF-8.
        ValueError: if it is no regular file, or too large. The messages name the file.
    """
    with open_regular(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{os.fspath(path)}: larger than {most_bytes / 2**20:.0f} MB, which no file of this kind is")
    try:
        return content.decode("utf-8" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise EncodingError(f"{os.fspath(path)}: not in UTF-8, from byte {error.start} on") from None


def parse(text: str) -> Any:
    """Return the value of a JSON text; of two fields of one name the later one counts.

    NaN and infinities, which earlier versions wrote, are null. All texts in it can be encoded.

    Raises:
        NotJsonError: if it is no JSON, or nested deeper than any of our files.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except RecursionError:
        raise NotJsonError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotJsonError(f"no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise NotJsonError("a number with too many digits") from None
    # Few texts need to be walked through: those with many brackets, and those that may hold half a surrogate pair.
    if text.count("[") + text.count("{") > DEEPEST and not is_shallow(value):
        raise NotJsonError("nested too deeply")
    return encodable(value) if _MAY_BE_HALF.search(text) else value


def lines(path: Path) -> Iterator[str | None]:
    """Yield the complete lines of a regular file in UTF-8, and None for each that is damaged or too long.

    The file is read in pieces, so that its size does not matter. What follows the last line feed is left out: a
    program was killed while it wrote it, or is about to write the rest.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read.
        ValueError: if it is no regular file.
    """
    with closing(open_regular(path)) as file:
        while line := file.readline(MOST_LINE_BYTES):
            if line.endswith(b"\n"):
                yield _decoded(line)
            elif len(line) == MOST_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MOST_LINE_BYTES)
                yield None


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
