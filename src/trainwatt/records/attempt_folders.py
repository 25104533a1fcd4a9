"""Search for the other attempts of a training among the run folders."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import attempts_of, identity_of, training_of
from trainwatt.records.recorded_run import is_gone
from trainwatt.records.run_folder import SUMMARY, pid_space, read_events, read_summary

# Number of latest run folders that are searched, so that a run begins at once whatever the folder holds.
_MOST = 1000
# Allowance for the clock of a file server.
_SKEW_S = 3600.0
# The identifier of the training is among the first fields of a summary.
_HEAD_BYTES = 2048


def find_attempts(state: Mapping[str, Any], output_dir: Path | None) -> tuple[dict[str, Any], ...]:
    """Read the summaries of all runs of the same training whose folders are beside that of a checkpoint, or here.

    Args:
        state: state from the checkpoint, or the ``summary.json`` of a run.
        output_dir: parent of the run folders of the present run; None if there is none.

    Returns:
        The summaries. The status of those whose process is gone is ``killed`` in place of ``running``.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if the state is not valid.
    """
    own = Path(state["folder"]) if state.get("folder") else None
    training, began = training_of(state), attempts_of(state)[0].began
    since_s = datetime.fromisoformat(began).timestamp() - _SKEW_S if began else 0.0
    folders = dict.fromkeys(folder.resolve() for folder in (own and own.parent, output_dir) if folder)
    candidates = {folder for parent in folders for folder in _candidates(parent, training, since_s)}
    if own:
        candidates.add(own.resolve())
    found = []
    for folder in sorted(candidates):
        # A summary that another version or another program has written is no attempt.
        with contextlib.suppress(OSError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            summary = _summary(folder, identity_of(state))
            attempts_of(summary)
            if training_of(summary) == training:
                found.append(summary)
    return tuple(found)


def _candidates(parent: Path, training: str, since_s: float) -> Iterator[Path]:
    """Yield the latest run folders whose summary names the training near its beginning."""
    recent = heapq.nlargest(_MOST, ((each, time_s) for each, time_s in _timed(parent) if time_s >= since_s), _time)
    for folder, _ in recent:
        with contextlib.suppress(OSError), (folder / SUMMARY).open("rb") as file:
            if json.dumps(training).encode() in file.read(_HEAD_BYTES):
                yield folder


def _time(timed: tuple[Path, float]) -> float:
    return timed[1]


def _timed(parent: Path) -> Iterator[tuple[Path, float]]:
    """Yield the run folders in a folder, with the time at which each summary was last written."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield Path(entry.path), (Path(entry.path) / SUMMARY).stat().st_mtime


def _summary(folder: Path, resumed: str) -> dict[str, Any]:
    """Read the summary of a run folder, with the status that its process has now.

    Args:
        folder: the run folder.
        resumed: identifier of the run that is resumed.
    """
    summary = read_summary(folder)
    if summary["status"] != "running":
        return summary
    start = next(read_events(folder), {})
    here = start.get("pid") == os.getpid() and start.get("pid_space") == pid_space()
    # A run that this process has abandoned, as happens in a notebook, goes on measuring until the process ends.
    abandoned = here and identity_of(summary) == resumed
    if not abandoned and not is_gone(summary, start):
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
