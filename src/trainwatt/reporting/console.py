"""Standard output, where a line that cannot be printed costs that line only."""

from __future__ import annotations

import io
import sys
from typing import Any

from trainwatt.containment import Failures

_failures = Failures()


def write_line(line: str, file: Any = None) -> bool:
    """Print a line if that is possible; see :func:`write`."""
    return write(line + "\n", file)


def write(text: str, file: Any = None) -> bool:
    """Write a text if that is possible, and never raise.

    The reader of a pipe may have gone, the disk may be full, the stream may be closed, missing or of a kind of its own,
    and its encoding may lack a character. Characters that it lacks are replaced. The first failure is logged.

    Args:
        text: to be written and flushed.
        file: a text stream; None for standard output.

    Returns:
        False if it could not be written.
    """
    file = sys.stdout if file is None else file
    # There is no standard output in a windowed program and in a service.
    if file is None:
        return False
    try:
        _write(text, file)
    except Exception:  # noqa: BLE001  # a stream of the user's may raise anything
        _failures.failed("a printed line", "it is in the run folder and in the summary")
        return False
    return True


def is_terminal(file: Any) -> bool:
    """Return True if a stream is a terminal; a closed one, and one that cannot tell, is none."""
    try:
        return bool(file.isatty())
    except Exception:  # noqa: BLE001  # a stream of the user's may raise anything
        return False


def _write(text: str, file: Any) -> None:
    raw = _raw_of(file)
    if raw is None:
        _write_text(text, file)
        return
    # What the program has printed comes first, and if that cannot be written, it is the program's own.
    file.flush()
    rest = memoryview(_encoded(text.replace("\n", _line_end(file)), file))
    while rest:
        written = raw.write(rest)
        if not written:
            raise BlockingIOError
        rest = rest[written:]


def _write_text(text: str, file: Any) -> None:
    try:
        file.write(text)
    except UnicodeEncodeError:
        file.write(_encoded(text, file).decode(_encoding(file)))
    flush = getattr(file, "flush", None)
    if flush is not None:
        flush()


def _raw_of(file: Any) -> io.RawIOBase | None:
    """Return the unbuffered stream below an ordinary text stream; None of any other kind.

    A text that cannot be written would stay in the buffer, and fail again in the program's own output and at its end.
    """
    raw = getattr(file.buffer, "raw", None) if type(file) is io.TextIOWrapper else None
    return raw if isinstance(raw, io.FileIO) else None


def _encoded(text: str, file: Any) -> bytes:
    return text.encode(_encoding(file), _errors(file))


def _encoding(file: Any) -> str:
    return getattr(file, "encoding", None) or "ascii"


def _errors(file: Any) -> str:
    errors = getattr(file, "errors", None)
    return "replace" if errors in (None, "strict") else str(errors)


def _line_end(file: Any) -> str:
    """Return the line end of standard output, which the text stream would write on Windows."""
    return "\r\n" if sys.platform == "win32" and file in (sys.stdout, sys.stderr) else "\n"
