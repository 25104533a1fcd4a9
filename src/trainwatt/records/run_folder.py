"""The run folder, complete up to the last second even if the process is killed.

``events.jsonl`` grows by a line for each phase of each epoch. ``summary.json`` holds the totals so far; it is replaced
as a whole every second. A thread of its own writes both, so that no disk can hold up the training or the meters.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import platform
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainwatt.distributed.liveness import pid_space
from trainwatt.files.background import Background
from trainwatt.files.line_file import LineFile, TakenError
from trainwatt.files.names import shortened
from trainwatt.files.output_file import replace
from trainwatt.files.strict_json import dumps
from trainwatt.power.host.boot_id import boot_id
from trainwatt.schema.json_file import NotJsonError, lines, parse, read_text

_log = logging.getLogger("trainwatt")

EVENTS = "events.jsonl"
SUMMARY = "summary.json"
# Events kept while the disk is full, slow or away.
_MOST_WAITING = 10_000
# Longest delay of a training's start by its run folder.
_START_S = 2.0
# Longest wait for a final summary. A disk that stalls for some seconds is waited for, one that hangs is given up.
_END_S = 30.0
# After the end of a run, writing is tried again for so long.
_RETRIED_S = 60.0
_MOST_FOLDERS = 1_000_000


class _Version(NamedTuple):
    """Order of the summaries of a run; a later one is greater.

    Attributes:
        final: True once the run has ended.
        sequence: number of its snapshot.
        number: of the summaries that were handed in; one of the whole job follows on that of its first process.
    """

    final: bool
    sequence: int
    number: int


class RunFolder:
    """Writer of a run folder. No method raises, and none waits for the disk without a limit.

    If the folder cannot be made or written, or the disk does not answer, it warns once, and writing is tried again.
    Unwritten events are kept, up to the latest 10,000. If the folder is deleted, renamed or replaced, it is made again.

    Args:
        output_dir: absolute path of the parent of the run folders; made if missing.
        name: name of the run; gets a number appended if that folder exists.
    """

    def __init__(self, output_dir: Path, name: str) -> None:
        self._output_dir, self._name = output_dir, name
        self._path: Path | None = None
        self._incoming: deque[Mapping[str, Any]] = deque(maxlen=_MOST_WAITING)
        # They are few, and without them the others say little.
        self._pinned: deque[Mapping[str, Any]] = deque()
        self._lines = LineFile(_lost_line)
        # The newest summaries: several, as two threads may hand in one each.
        self._summaries: deque[tuple[_Version, Mapping[str, Any]]] = deque(maxlen=8)
        self._final: tuple[_Version, Mapping[str, Any]] | None = None
        self._newest = self._written = _Version(final=False, sequence=-1, number=0)
        self._numbers = itertools.count(1)
        self._stamp: dict[str, Any] = {}
        self._identity: dict[str, Any] = {}
        self._warned = False
        # On the monotonic clock.
        self._gives_up_s = math.inf
        self._background = Background(self._write, "trainwatt-run-folder")
        if not self._background.wait(_START_S):
            self._warn("the disk does not answer")

    @property
    def path(self) -> Path | None:
        """The folder; None until it could be made."""
        return self._path

    @property
    def is_complete(self) -> bool:
        """True if the newest summary is in the folder."""
        return self._written >= self._newest and self._written.number > 0

    @property
    def stamp(self) -> dict[str, Any]:
        """Fields that were added to the last summary: its generation, and when and where it was written."""
        return {"written": self._stamp} if self._stamp else {}

    def queue(self, *events: Mapping[str, Any], pinned: bool = False) -> None:
        """Queue a line per event for the next write.

        Args:
            events: the caller must not change them afterwards.
            pinned: keep them however many follow.
        """
        (self._pinned if pinned else self._incoming).extend(events)

    def write_queue(self) -> None:
        """Have the queued events written soon."""
        if self._incoming or self._pinned:
            self._background.wake()

    def flush(self, limit_s: float = _END_S) -> None:
        """Wait until everything was written that could be.

        Args:
            limit_s: longest wait.
        """
        if not self._background.wait(limit_s):
            self._warn("the disk does not answer")

    def summary(self, summary: Mapping[str, Any], sequence: int = 0, *, durable: bool = False) -> None:
        """Replace the summary; a reader sees the old one or the new one, never a part.

        Args:
            summary: the new content; the caller must not change it afterwards.
            sequence: number of its snapshot in the run. A summary that is older than one handed in before is dropped.
            durable: it is final: no other kind may follow. Wait until it is on the disk, for 30 s at most; otherwise it
                is written soon, and survives a killed process but not a power cut.
        """
        version = _Version(durable, sequence, next(self._numbers))
        if version < self._newest:
            return
        self._newest = version
        if not durable:
            self._summaries.append((version, summary))
            self._background.wake()
            return
        self._final = version, summary
        self._gives_up_s = time.monotonic() + _RETRIED_S
        if not self._background.wait(_END_S):
            self._warn("the disk does not answer")

    def _write(self) -> bool:
        """Write what is new, in the thread; return True if something is left."""
        try:
            self._write_all()
        except OSError as error:
            self._warn(error)
        except Exception as error:  # noqa: BLE001  # the thread must go on
            self._warn(f"a fault of trainwatt: {error!r}")
        is_left = self._path is None or not self._lines.is_complete or self._written < self._newest
        return is_left and time.monotonic() < self._gives_up_s

    def _write_all(self) -> None:
        self._take_events()
        try:
            self._write_into(self._path or self._made())
        except FileNotFoundError:
            # Deleted, renamed or unmounted.
            self._lines.forget_file()
            self._write_into(self._made())
        except TakenError:
            self._lines.forget_file()
            self._path = None
            self._write_into(self._made())

    def _write_into(self, folder: Path) -> None:
        """Write lines and summary; each is tried, as on a full disk one may fit."""
        self._path = folder
        try:
            self._lines.write(folder / EVENTS)
        except (FileNotFoundError, TakenError):
            raise
        except OSError:
            self._write_summary(folder)
            raise
        self._write_summary(folder)

    def _write_summary(self, folder: Path) -> None:
        known = [*self._summaries, *([self._final] if self._final else [])]
        version, summary = max(known, key=lambda each: each[0], default=(self._written, {}))
        if version <= self._written or not summary:
            return
        # The monotonic clock is that of all processes since the boot; it has no jumps.
        self._identity = self._identity or writer_identity()
        generation = self._stamp.get("generation", 0) + 1
        self._stamp = {"generation": generation, "monotonic_s": time.monotonic(), **self._identity}
        # Writing JSON on one line takes a third of the time.
        content = dumps({**summary, "written": self._stamp}, indent=1 if version.final else None)
        replace(folder / SUMMARY, content.encode(), durable=version.final)
        self._written = version
        while self._summaries and self._summaries[0][0] <= version:
            self._summaries.popleft()

    def _take_events(self) -> None:
        for pinned, events in ((True, self._pinned), (False, self._incoming)):
            while events:
                self._lines.add(dumps(events.popleft()).encode() + b"\n", pinned=pinned)

    def _made(self) -> Path:
        """Make the folder, or the one that is lost again.

        Raises:
            OSError: if it cannot be made.
        """
        if self._path is not None:
            try:
                self._path.mkdir(parents=True)
            except FileExistsError:
                if not self._is_free(self._path):
                    return _make_folder(self._output_dir, self._name)
            return self._path
        return _make_folder(self._output_dir, self._name)

    def _is_free(self, folder: Path) -> bool:
        """Return True for a folder without a record, or with our own summary.

        One without a record is what is left of an emptied one, or what another rank makes for its own folder.
        """
        if folder.is_symlink() or not folder.is_dir() or os.path.lexists(folder / EVENTS):
            return False
        try:
            return read_summary(folder).get("written") == (self._stamp or False)
        except FileNotFoundError:
            return not os.path.lexists(folder / SUMMARY)
        except (OSError, ValueError, AttributeError):
            return False

    def _warn(self, error: OSError | str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "trainwatt: the run folder %s cannot be written; measurement continues and writing is retried: %s",
                self._path or self._output_dir / self._name,
                error,
            )


def start_time_name(wall_s: float) -> str:
    """Return a folder name from a start time, in local time."""
    return time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(wall_s))


def read_summary(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the summary of a run folder, of a running run or of one that ended in any way.

    Raises:
        FileNotFoundError: if there is no run folder, or it has no summary yet.
    """
    summary: dict[str, Any] = parse(read_text(Path(folder) / SUMMARY))
    return summary


def read_events(folder: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a run folder, oldest first; skip lines truncated by a crash or a full disk."""
    for line in filter(None, lines(Path(folder) / EVENTS)):
        with contextlib.suppress(NotJsonError):
            event = parse(line)
            if isinstance(event, dict):
                yield event


def writer_identity() -> dict[str, Any]:
    """Return the identity of this process, by which a reader can tell if it is still there, on this host or another."""
    known: dict[str, Any] = {"pid": os.getpid(), "host": platform.node()}
    # Without procfs neither may be known.
    with contextlib.suppress(Exception):
        known |= {"pid_space": pid_space(), "boot": boot_id()}
    return known


def _lost_line(count: int) -> bytes:
    return dumps({"event": "lost", "events": count}).encode() + b"\n"


def _make_folder(output_dir: Path, name: str) -> Path:
    for number in range(1, _MOST_FOLDERS):
        folder = output_dir / (name if number == 1 else shortened(name, f"-{number}"))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(output_dir / name)
