"""``trainwatt report``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.cli.shared import add_force, command, show
from trainwatt.records.job_reader import read_run

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "report",
        run,
        "write a run's report.html into its folder, or comparison.html for several runs",
        "trainwatt report footprint/2026-11-23T08-49-46",
    )
    add_runs(parser)
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the page to this file instead")
    add_force(parser)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select runs."""
    parser.add_argument(
        "folders", metavar="RUN", nargs="+", help="run folder; the run may also have failed or been killed"
    )
    parser.add_argument("--metric", help="metric to compare several runs by (default: the most common one)")


def run(options: argparse.Namespace) -> int:
    """Write the page."""
    # Deferred: other commands do not need the HTML modules.
    from trainwatt.reporting.html import REPORT, report, write  # noqa: PLC0415

    runs = [read_run(folder) for folder in options.folders]
    path: Path = options.write or (runs[0].folder / REPORT if len(runs) == 1 else Path("comparison.html"))
    write(path, report(runs, options.metric), force=options.force)
    return show(options, str(path), {"written": str(path)})
