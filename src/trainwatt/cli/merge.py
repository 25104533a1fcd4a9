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
        "merge the records of all processes of a job into one summary; each device counts once",
        "trainwatt merge footprint/run",
        "trainwatt merge node-1/footprint/run node-2/footprint/run --output job",
        "trainwatt merge footprint/run footprint/run-rank-* --json",
    )
    parser.add_argument("folders", nargs="+", metavar="RUN", help="run folder, including the rank folders inside it")
    parser.add_argument("--output", metavar="FOLDER", help="folder to write summary.json to (default: the first RUN)")


def run(options: argparse.Namespace) -> int:
    """Merge the run folders, write the summary and print it."""
    summary = merge(options.folders)
    if options.output:
        summary.folder = Path(options.output)
        summary.folder.mkdir(parents=True, exist_ok=True)
    if summary.folder:
        write_summary(summary.folder, summary, durable=True)
    return show(options, _processes_text(summary["processes"]) + summary.text(), summary)


def _processes_text(processes: dict[str, int]) -> str:
    return f"{processes['joined']} of {processes['count']} processes\n\n"
