"""Exchange of figures by run folders, if the framework offers no collective."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwatt.records.run_folder import SUMMARY
from trainwatt.schema.json_file import parse, read_text
from trainwatt.schema.summary import summary as checked_summary

# Longest wait of rank 0 for the final figures of the others.
_LAST_S = 2.0
_POLL_S = 0.05


def read(output_dir: Path, job: str, since_s: float) -> list[dict[str, Any]]:
    """Read what the other processes of a job have written; their figures are at most a second old.

    Args:
        output_dir: parent of the run folders, shared by all processes.
        job: the job's identity; processes of other jobs are left out.
        since_s: seconds since the Unix epoch; processes that ended earlier are left out.
    """
    summaries = (_summary(file, since_s) for file in output_dir.glob(f"*-rank-*/{SUMMARY}"))
    records = [record for each in summaries if each["processes"].get("job") == job for record in each["shards"]]
    return [record for record in records if record["to_s"] >= since_s]


def wait(output_dir: Path, job: str, since_s: float, count: int) -> Sequence[dict[str, Any]]:
    """Read the final figures of the other processes; wait up to two seconds until all have written them.

    Args:
        output_dir: parent of the run folders, shared by all processes.
        job: the job's identity.
        since_s: seconds since the Unix epoch.
        count: number of other processes.
    """
    until_s = time.monotonic() + _LAST_S
    while True:
        found = read(output_dir, job, since_s)
        ended = sum(record["status"] != "running" for record in found)
        if ended >= count or not found or time.monotonic() > until_s:
            return found
        time.sleep(_POLL_S)


def _summary(file: Path, since_s: float) -> dict[str, Any]:
    """Read the summary of a process; return one without records if it is old, foreign or incomplete."""
    none: dict[str, Any] = {"processes": {"job": None}, "shards": ()}
    try:
        summary = checked_summary(parse(read_text(file))) if file.stat().st_mtime >= since_s else none
    except (OSError, ValueError):
        return none
    return summary if "shards" in summary and "processes" in summary else none
