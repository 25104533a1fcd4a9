"""The run folder: what is left when the process dies at any instant.

``events.jsonl`` grows by a line for each phase of each epoch; ``summary.json`` holds the totals so far, and is replaced
as a whole every second.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger("trainwatt")

EVENTS = "events.jsonl"
SUMMARY = "summary.json"


class RunFolder:
    """Writes a run folder. Once it is open nothing raises: what cannot be written is told once and then left.

    Args:
        output_dir: the folder of run folders; made where it does not exist.
        name: the run's name; a number is added where that folder exists already.
    """

    def __init__(self, output_dir: Path, name: str) -> None:
        self.path = _make_folder(output_dir, name)
        self._open = True

    def event(self, *events: Mapping[str, Any]) -> None:
        """Append a line for each event, and hand them to the operating system at once."""
        if not self._open or not events:
            return
        try:
            with (self.path / EVENTS).open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(event) + "\n" for event in events))
        except OSError as error:
            self._stop(error)

    def summary(self, summary: Mapping[str, Any], *, durable: bool = False) -> None:
        """Replace the summary; a reader sees the old one or the new one, never a part.

        Args:
            summary: what to write.
            durable: wait until it is on the disk; otherwise it outlives the process, not a power cut.
        """
        if not self._open:
            return
        try:
            write_summary(self.path, summary, durable=durable)
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        self._open = False
        _log.warning("trainwatt: the run folder cannot be written any more, measuring goes on: %s", error)


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
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(summary, file, indent=1)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(folder / SUMMARY)


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


def read_events(folder: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The events of a run folder, oldest first; a last line that was cut short by a crash is left out."""
    with (Path(folder) / EVENTS).open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def _make_folder(output_dir: Path, name: str) -> Path:
    for number in range(1, 1_000_000):
        folder = output_dir / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(output_dir / name)
