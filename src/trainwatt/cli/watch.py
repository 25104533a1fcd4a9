"""``trainwatt watch``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.cli.shared import command, latest_run, positive, write
from trainwatt.files.strict_json import dumps
from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.summary_view import SummaryView, summary_view
from trainwatt.reporting.terminal import rich_of

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands

_CLEAR = "\x1b[H\x1b[J"


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "watch",
        run,
        "follow a run until it ends or Ctrl-C: energy, power and projection",
        "trainwatt watch",
        "trainwatt watch footprint/2026-11-23T08-49-46 --once",
        "trainwatt watch --json | jq .total_kwh",
    )
    parser.add_argument(
        "folder",
        metavar="RUN",
        nargs="?",
        default="footprint",
        help="run folder, or a folder of run folders, for the latest of them (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="print the current state and exit")
    parser.add_argument("--interval", type=positive, default=1.0, help="seconds between updates (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Show the run until it ends or the user presses Ctrl-C."""
    folder = latest_run(options.folder)
    seen = [read_run(folder)] if options.once else _updates(folder, options.interval)
    with suppress(KeyboardInterrupt):
        _show(seen, options)
    return 0


def _show(seen: Iterator[RecordedRun] | list[RecordedRun], options: argparse.Namespace) -> None:
    if options.json:
        for each in seen:
            write(dumps(each.summary, indent=1 if options.once else None))
    elif options.once:
        for each in seen:
            write(view(each).text())
    elif sys.stdout.isatty() and find_spec("rich"):
        _live(seen)
    else:
        for each in seen:
            shown = view(each)
            if sys.stdout.isatty():
                sys.stdout.write(_CLEAR)
            write(shown.text() if sys.stdout.isatty() else shown.line())


def view(run: RecordedRun, watts: float | None = None) -> SummaryView:
    """Build the view of a run in progress.

    Args:
        run: its current state.
        watts: mean power since the previous update; None if unknown.
    """
    now = [f"{watts:.0f} W now"] if watts is not None else []
    epochs = [f"{run.summary['epochs']} epochs"] if run.summary.get("epochs") else []
    line = ", ".join([*now, *epochs, *(f"{name} {value:.4g}" for name, value in run.scores.items())])
    shown = summary_view(run.summary, run.folder)
    return replace(shown, meaning=tuple(filter(None, (line, *shown.meaning))), factors=())


def _updates(folder: Path, interval_s: float) -> Iterator[RecordedRun]:
    """Yield the run each time that it has changed, until it has ended."""
    shown = None
    while True:
        run = read_run(folder)
        present = (run.summary["updated"], run.summary.get("last_seen"))
        if present != shown or run.status != "running":
            shown = present
            yield run
        if run.status != "running":
            return
        time.sleep(interval_s)


def _live(seen: Iterator[RecordedRun] | list[RecordedRun]) -> None:
    from rich.console import Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415

    before: RecordedRun | None = None
    with Live(auto_refresh=False) as live:
        for run in seen:
            blocks = rich_of(view(run, _watts(before, run)))
            live.update(Group(*(Padding(block, (0, 0, 1, 0)) for block in blocks)), refresh=True)
            before = run


def _watts(before: RecordedRun | None, now: RecordedRun) -> float | None:
    if before is None or now.status != "running":
        return None
    seconds = now.summary["seconds"] - before.summary["seconds"]
    return (now.summary["total_j"] - before.summary["total_j"]) / seconds if seconds > 0 else None
