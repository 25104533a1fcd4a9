"""``trainwatt report``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.cli.shared import command, show
from trainwatt.records.job_reader import read_run

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "report",
        run,
        "write a run's report.html into its folder, or comparison.html of several runs",
        "trainwatt report footprint/2026-11-23T08-49-46",
    )
    add_runs(parser)
    parser.add_argument("--write", metavar="FILE", type=Path, help="write it there instead")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """The arguments that tell which runs."""
    parser.add_argument("folders", metavar="RUN", nargs="+", help="a run folder, of a run that ended in whatever way")
    parser.add_argument("--metric", help="by which to compare several runs (default: the one that most of them have)")


def run(options: argparse.Namespace) -> int:
    """Write the page."""
    from trainwatt.reporting.html import REPORT, report, write  # noqa: PLC0415  # other commands need none of it

    runs = [read_run(folder) for folder in options.folders]
    path: Path = options.write or (runs[0].folder / REPORT if len(runs) == 1 else Path("comparison.html"))
    write(path, report(runs, options.metric))
    return show(options, str(path), {"written": str(path)})
