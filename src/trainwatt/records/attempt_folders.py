"""Search for the other attempts of a training among the run folders."""

from __future__ import annotations

import contextlib
import heapq
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import attempts_of, identity_of, training_of
from trainwatt.distributed.liveness import is_gone, pid_space
from trainwatt.files.background import within
from trainwatt.records.recorded_run import read_folder
from trainwatt.records.run_folder import EVENTS, SUMMARY
from trainwatt.records.summary import Summary
from trainwatt.schema.event_log import read_event_log
from trainwatt.schema.json_file import parse, read_head, read_text
from trainwatt.schema.summary import summary as checked_summary

_log = logging.getLogger("trainwatt")

# Longest delay of a resumed training by a disk that does not answer.
_PATIENCE_S = 15.0
# Number of latest run folders that are searched, so that a run begins at once whatever the folder holds.
_MOST = 1000
# Allowance for the clock of a file server.
_SKEW_S = 3600.0
# Of two hosts of a cluster at most, while the present run has written nothing yet.
_LIVE_SKEW_S = 90.0
# The identifier of the training is among the first fields of a summary.
_HEAD_BYTES = 2048


def latest_of(output_dir: Path, token: str, since_s: float) -> Summary | None:
    """Return the summary of the latest run that another process has made with a copy of a tracker; None if none has.

    Args:
        output_dir: parent of the run folders.
        token: the identity of the tracker and of its copies, from the first event of a run.
        since_s: when the tracker was made, in seconds since the Unix epoch.
    """
    timed = ((folder, time_s) for folder, time_s in _timed(output_dir) if time_s >= since_s - _SKEW_S)
    for folder, _ in heapq.nlargest(_MOST, timed, key=lambda each: each[1]):
        with contextlib.suppress(OSError, ValueError):
            start = read_event_log(folder / EVENTS).start
            if start.get("token") == token and start.get("pid") != os.getpid():
                return read_folder(folder).summary
    return None


def find_attempts(state: Mapping[str, Any], output_dir: Path | None) -> tuple[dict[str, Any], ...]:
    """Read the summaries of all runs of the same training whose folders are beside that of a checkpoint, or here.

    Args:
        state: state from the checkpoint, or the ``summary.json`` of a run.
        output_dir: parent of the run folders of the present run; None if there is none.

    Returns:
        The summaries. The status of those whose process is gone is ``killed`` in place of ``running``. None if the disk
        does not answer.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if the state is not valid.
    """
    try:
        return within(_PATIENCE_S, lambda: _found(state, output_dir))
    except TimeoutError as error:
        _log.warning("trainwatt: earlier attempts count as far as the checkpoint knows them: %s", error)
        return ()


def _found(state: Mapping[str, Any], output_dir: Path | None) -> tuple[dict[str, Any], ...]:
    own = Path(state["folder"]) if state.get("folder") else None
    training, began = training_of(state), attempts_of(state)[0].began
    since_s = datetime.fromisoformat(began).timestamp() - _SKEW_S if began else 0.0
    folders = dict.fromkeys(_resolved(folder) for folder in (own and own.parent, output_dir) if folder)
    timed = [each for parent in folders for each in _timed(parent)]
    # The newest file shows the present time of the file server, and the present run writes all the time.
    now_s = max((time_s for _, time_s in timed), default=0.0)
    now_s = min(max(now_s, time.time() - _LIVE_SKEW_S), time.time() + _SKEW_S)
    candidates = set(_candidates(timed, training, since_s))
    if own:
        candidates.add(_resolved(own))
    found = []
    for folder in sorted(candidates):
        # A summary that is damaged, or that another version or another program has written, is no attempt.
        with contextlib.suppress(OSError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            raw = parse(read_text(folder / SUMMARY))
            if training_of(raw) == training:
                summary = _summary(folder, raw, identity_of(state), now_s)
                attempts_of(summary)
                found.append(summary)
    return tuple(found)


def _resolved(folder: Path) -> Path:
    """Return a folder without symbolic links, or as it is if they form a loop."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError):
        return folder


def _candidates(timed: Iterable[tuple[Path, float]], training: str, since_s: float) -> Iterator[Path]:
    """Yield the latest run folders whose summary names the training near its beginning."""
    recent = heapq.nlargest(_MOST, ((each, time_s) for each, time_s in timed if time_s >= since_s), _time)
    wanted = json.dumps(training).encode()
    for folder, _ in recent:
        with contextlib.suppress(OSError, ValueError):
            if wanted in read_head(folder / SUMMARY, _HEAD_BYTES):
                yield folder


def _time(timed: tuple[Path, float]) -> float:
    return timed[1]


def _timed(parent: Path) -> Iterator[tuple[Path, float]]:
    """Yield the run folders in a folder, with the time at which each summary was last written."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield Path(entry.path), (Path(entry.path) / SUMMARY).stat().st_mtime


def _summary(folder: Path, raw: object, resumed: str, now_s: float) -> dict[str, Any]:
    """Check the summary of a run folder, and give it the status that its process has now.

    Args:
        folder: the run folder.
        raw: content of its summary.
        resumed: identifier of the run that is resumed.
        now_s: present time by the clock of the file server.
    """
    summary = checked_summary(raw)
    if summary["status"] != "running":
        return summary
    log = read_event_log(folder / EVENTS)
    if ends := log.of_kind("end"):
        # Its last summary could not be written.
        return {**summary, "status": ends[-1]["status"]}
    start, silent_s = log.start, now_s - (folder / SUMMARY).stat().st_mtime
    here = start.get("pid") == os.getpid() and start.get("pid_space") == pid_space()
    # A run that this process has abandoned, as happens in a notebook, goes on measuring until the process ends.
    abandoned = here and identity_of(summary) == resumed
    if not abandoned and not is_gone(summary, start, silent_s=silent_s):
        return summary
    joined = _joined(folder, summary)
    *before, last = joined["attempts"]
    return {**joined, "status": "killed", "attempts": [*before, {**last, "status": "killed"}]}


def _joined(folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Add the latest figures of the other processes of a job that was killed."""
    if summary.get("processes", {}).get("count", 1) == 1:
        return summary
    # Rarely used.
    from trainwatt.records.job_reader import merge  # noqa: PLC0415

    return dict(merge([folder]))
