"""Weeks of training in virtual time: 10 million steps on the real sampler and session.

The table compares memory and files after half of the run with those at its end, and the recorded energy with the true
energy.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from standins.long_run import EPOCHS, STEPS, LongRun, Stage, simulate


def table(run: LongRun) -> Iterator[str]:
    """Yield the lines of the table in the benchmarks' README."""
    yield f"{run.steps:,} steps in {run.end.epochs:,} epochs, {run.days:.1f} days"
    yield ""
    yield "| | half way | end |"
    yield "|---|---|---|"
    yield f"| memory of the process, MB | {run.half.rss_bytes / 1e6:.1f} | {run.end.rss_bytes / 1e6:.1f} |"
    yield f"| spans in memory | {run.half.spans} | {run.end.spans} |"
    yield f"| events.jsonl, bytes an epoch | {_per_epoch(run.half)} | {_per_epoch(run.end)} |"
    yield f"| summary.json, bytes | {run.half.summary_bytes} | {run.end.summary_bytes} |"
    yield f"| error of the total | | {run.total_error:.1e} |"
    yield f"| error of the sum of all spans in the record | | {run.parts_error:.1e} |"


def _per_epoch(stage: Stage) -> int:
    return round(stage.events_bytes / stage.epochs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print("\n".join(table(simulate(Path(name), arguments.steps, arguments.epochs))))
