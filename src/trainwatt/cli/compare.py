"""``trainwatt compare``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.cli.report import add_runs
from trainwatt.cli.shared import add_force, command, show
from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.comparison import Comparison

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "compare",
        run,
        "compare several runs, lowest energy first; with --write as an HTML page",
        "trainwatt compare footprint/* --write comparison.html",
    )
    add_runs(parser)
    parser.add_argument(
        "--write", metavar="FILE", type=Path, help="write an HTML page with the Pareto front to this file"
    )
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """Print or write the comparison."""
    # Deferred: other commands do not need the HTML modules.
    from trainwatt.reporting.html import comparison_page, write  # noqa: PLC0415
    from trainwatt.reporting.html.pareto import chosen_metric, standings  # noqa: PLC0415

    runs = [read_run(folder) for folder in options.folders]
    metric = chosen_metric(runs, options.metric)
    if options.write:
        write(options.write, comparison_page(runs, metric or None), force=options.force)
        return show(options, str(options.write), {"written": str(options.write)})
    found = {each.folder: each for each in standings(runs, metric)}
    rows = [_run_state(each, found.get(each.folder)) for each in Comparison(runs).runs]
    return show(options, Comparison(runs).text(), {"metric": metric or None, "runs": rows})


def _run_state(run: RecordedRun, standing: Any) -> dict[str, Any]:
    names: Sequence[str] = (
        "run",
        "status",
        "began",
        "seconds",
        "epochs",
        "total_kwh",
        "total_kwh_low",
        "total_kwh_high",
    )
    state = {name: run.summary[name] for name in names} | {"folder": str(run.folder)}
    if run.summary.get("footprint"):
        state["co2e_kg"] = run.summary["footprint"]["co2e_kg"]
    return state | {"best": standing.value if standing else None, "front": bool(standing and standing.front)}
