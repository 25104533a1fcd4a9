"""The run folder: what is left when the process dies at any instant.

``events.jsonl`` grows by a line for each phase of each epoch; ``summary.json`` holds the totals so far, and is replaced
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

_log = logging.getLogger("trainwatt")

EVENTS = "events.jsonl"
SUMMARY = "summary.json"
_MOST_WAITING = 10_000  # events that wait for a disk to have room again


class RunFolder:
    """Writes a run folder. Once it is open nothing raises.

    What cannot be written, because the disk is full or the folder has become read-only, is told once and tried again
    each time; the events wait until then, the latest of them at least.

    Args:
        output_dir: the folder of run folders; made where it does not exist.
        name: the run's name; a number is added where that folder exists already.
    """

    def __init__(self, output_dir: Path, name: str) -> None:
        self.path = _make_folder(output_dir, name)
        self._waiting: deque[Mapping[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._writing = threading.RLock()  # a signal may come while this thread writes
        self._told = False
        self.writable = True  # as far as the last summary told

    def queue(self, *events: Mapping[str, Any]) -> None:
        """Have a line for each event written the next time that any are: a training thread never waits for a disk.

        Args:
            events: JSON-able, the caller's own no longer.
        """
        self._waiting.extend(events)

    def event(self, *events: Mapping[str, Any]) -> None:
        """Append a line for each event, after those that wait, and hand them to the operating system at once."""
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
                self._tell(error)

    def summary(self, summary: Mapping[str, Any], *, durable: bool = False) -> None:
        """Replace the summary; a reader sees the old one or the new one, never a part.

        Args:
            summary: what to write.
            durable: wait until it is on the disk; otherwise it outlives the process, not a power cut.
        """
        try:
            write_summary(self.path, summary, durable=durable)
        except OSError as error:
            self.writable = False
            self._tell(error)
        else:
            self.writable = True
            self.event()

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            _log.warning("trainwatt: the run folder cannot be written; measuring goes on, trying again: %s", error)


def write_summary(folder: Path, summary: Mapping[str, Any], *, durable: bool = False) -> None:
    """Put a summary into a run folder; a reader sees the old one or the new one, never a part.

    Args:
        folder: the run folder.
        summary: what to write.
        durable: wait until it is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    temporary = folder / (SUMMARY + ".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(summary, indent=1 if durable else None))  # on one line it takes a third of the time
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(folder / SUMMARY)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def start_time_name(wall_s: float) -> str:
    """A folder name from a start time, in local time."""
    return time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(wall_s))


def read_summary(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The summary of a run folder, of a run that ended in whatever way or still goes on.

    Raises:
        FileNotFoundError: there is no run folder, or it holds no figures yet.
    """
    summary: dict[str, Any] = json.loads((Path(folder) / SUMMARY).read_text(encoding="utf-8"))
    return summary


def find_summary(folder: str | None) -> dict[str, Any] | None:
    """The same where there is one to be read; None where it is another machine's, or long gone."""
    try:
        return read_summary(folder) if folder else None
    except (OSError, ValueError):
        return None


def read_events(folder: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The events of a run folder, oldest first; a line that was cut short, by a crash or a full disk, is left out."""
    with (Path(folder) / EVENTS).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and line.endswith("\n"):
                    yield event


def _plain(value: Any) -> float | str:
    """What JSON does not know, such as a tensor of one figure."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _append(file: Path, lines: bytes) -> None:
    """All of the lines or, as far as the disk lets us, none: what was written of them in part is taken back."""
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
