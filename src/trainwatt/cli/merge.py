"""``trainwatt merge``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.cli.shared import command, show
from trainwatt.records.job_reader import merge
from trainwatt.records.run_folder import write_summary

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "merge",
        run,
        "what the processes of a job have measured, in one summary: each device counts once",
        "trainwatt merge footprint/run",
        "trainwatt merge node-1/footprint/run node-2/footprint/run --output job",
        "trainwatt merge footprint/run footprint/run-rank-* --json",
    )
    parser.add_argument("folders", nargs="+", metavar="RUN", help="run folders, with those of processes in them")
    parser.add_argument("--output", metavar="FOLDER", help="where to write summary.json (default: the first)")


def run(options: argparse.Namespace) -> int:
    """Join them, write the summary, and print it."""
    summary = merge(options.folders)
    if options.output:
        summary.folder = Path(options.output)
        summary.folder.mkdir(parents=True, exist_ok=True)
    if summary.folder:
        write_summary(summary.folder, summary, durable=True)
    return show(options, _joined(summary["processes"]) + summary.text(), summary)


def _joined(processes: dict[str, int]) -> str:
    return f"{processes['joined']} of {processes['count']} processes\n\n"
