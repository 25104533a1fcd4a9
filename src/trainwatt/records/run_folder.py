"""The run folder, complete up to the last second even if the process is killed.

``events.jsonl`` grows by a line for each phase of each epoch. ``summary.json`` holds the totals so far; it is replaced
as a whole every second.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainwatt.power.host.boot_id import boot_id

_log = logging.getLogger("trainwatt")

EVENTS = "events.jsonl"
SUMMARY = "summary.json"
# Events kept while the disk is full.
_MOST_WAITING = 10_000


class RunFolder:
    """Writer of a run folder; never raises once it is open.

    If the disk is full or the folder has become read-only, it warns once and retries at each write. Unwritten events
    are kept, up to the latest 10,000.

    Args:
        output_dir: parent of the run folders; made if missing.
        name: name of the run; gets a number appended if that folder exists.
    """

    def __init__(self, output_dir: Path, name: str) -> None:
        self.path = _make_folder(output_dir, name)
        self._waiting: deque[Mapping[str, Any]] = deque(maxlen=_MOST_WAITING)
        # Reentrant, because a signal handler may write while this thread writes.
        self._writing = threading.RLock()
        self._warned = False
        # Outcome of the last summary write.
        self.writable = True

    def queue(self, *events: Mapping[str, Any]) -> None:
        """Queue a line per event for the next write, so that a training thread never waits for a disk.

        Args:
            events: JSON-able; the caller must not change them afterwards.
        """
        self._waiting.extend(events)

    def event(self, *events: Mapping[str, Any]) -> None:
        """Append a line per event, after the queued ones, and pass them to the operating system at once."""
        self.queue(*events)
        with self._writing:
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not taken:
                return
            try:
                _append(
                    self.path / EVENTS, "".join(json.dumps(event, default=_plain) + "\n" for event in taken).encode()
                )
            except OSError as error:
                room = _MOST_WAITING - len(self._waiting)
                self._waiting.extendleft(reversed(taken[-room:] if room > 0 else ()))
                self._warn(error)

    def summary(self, summary: Mapping[str, Any], *, durable: bool = False) -> None:
        """Replace the summary; a reader sees the old one or the new one, never a part.

        Args:
            summary: the new content.
            durable: wait until it is on the disk; otherwise it survives a killed process but not a power cut.
        """
        try:
            write_summary(self.path, summary, durable=durable)
        except OSError as error:
            self.writable = False
            self._warn(error)
        else:
            self.writable = True
            self.event()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "trainwatt: the run folder cannot be written; measurement continues and writing is retried: %s", error
            )


def write_summary(folder: Path, summary: Mapping[str, Any], *, durable: bool = False) -> None:
    """Write a summary into a run folder; a reader sees the old one or the new one, never a part.

    Args:
        folder: the run folder.
        summary: the new content.
        durable: wait until it is on the disk.

    Raises:
        OSError: if it cannot be written.
    """
    temporary = folder / (SUMMARY + ".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            # Writing JSON on one line takes a third of the time.
            file.write(json.dumps(summary, indent=1 if durable else None))
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(folder / SUMMARY)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def start_time_name(wall_s: float) -> str:
    """Return a folder name from a start time, in local time."""
    return time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(wall_s))


def read_summary(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the summary of a run folder, of a running run or of one that ended in any way.

    Raises:
        FileNotFoundError: if there is no run folder, or it has no summary yet.
    """
    summary: dict[str, Any] = json.loads((Path(folder) / SUMMARY).read_text(encoding="utf-8"))
    return summary


def pid_space() -> str:
    """Return an identity of the processes among which a process id is unique: this boot, and on Linux the container."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{boot_id()}/{namespace}"


def read_events(folder: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a run folder, oldest first; skip lines truncated by a crash or a full disk."""
    with (Path(folder) / EVENTS).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and line.endswith("\n"):
                    yield event


def _plain(value: Any) -> float | str:
    """Convert a value that JSON does not support, such as a scalar tensor."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _append(file: Path, lines: bytes) -> None:
    """Append all lines, or none: a partial write is truncated away as far as the disk allows."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        try:
            while lines:
                lines = lines[os.write(descriptor, lines) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _make_folder(output_dir: Path, name: str) -> Path:
    for number in range(1, 1_000_000):
        folder = output_dir / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(output_dir / name)
