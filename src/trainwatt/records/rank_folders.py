"""Where a framework has no collective to offer: the processes of a job find each other's folders."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwatt.records.run_folder import SUMMARY

_LAST_S = 2.0  # how long the first process waits for the last figures of the others
_LOOK_S = 0.05


def read(output_dir: Path, job: str, since_s: float) -> list[dict[str, Any]]:
    """What the other processes of a job have written by now, which is at most a second old.

    Args:
        output_dir: where run folders are made, shared by all.
        job: the job's identity; processes of others are left out.
        since_s: seconds since the Unix epoch; so are those that ended before.
    """
    summaries = (_summary(file, since_s) for file in output_dir.glob(f"*-rank-*/{SUMMARY}"))
    shards = [shard for each in summaries if each["processes"]["job"] == job for shard in each["shards"]]
    return [shard for shard in shards if shard["to_s"] >= since_s]


def wait(output_dir: Path, job: str, since_s: float, count: int) -> Sequence[dict[str, Any]]:
    """The same at the end, when all are about to write their last figures; two seconds at most.

    Args:
        output_dir: where run folders are made, shared by all.
        job: the job's identity.
        since_s: seconds since the Unix epoch.
        count: how many others there are.
    """
    until_s = time.monotonic() + _LAST_S
    while True:
        found = read(output_dir, job, since_s)
        ended = sum(shard["status"] != "running" for shard in found)
        if ended >= count or not found or time.monotonic() > until_s:
            return found
        time.sleep(_LOOK_S)


def _summary(file: Path, since_s: float) -> dict[str, Any]:
    """Of a process; one without any where it is old, not ours or half there."""
    try:
        summary: Any = json.loads(file.read_text(encoding="utf-8")) if file.stat().st_mtime >= since_s else {}
    except (OSError, ValueError):
        summary = {}
    return summary if isinstance(summary, dict) and "shards" in summary else {"processes": {"job": None}, "shards": ()}
