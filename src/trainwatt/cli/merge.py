"""``trainwatt merge``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.cli.shared import add_force, command, show
from trainwatt.files.output_file import write_output
from trainwatt.files.strict_json import dumps
from trainwatt.records.job_reader import merge
from trainwatt.records.run_folder import EVENTS, SUMMARY, read_summary

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands

# Marks a summary that this command has written, and may replace.
_MARK = "merged"


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
    parser.add_argument(
        "--output", metavar="FOLDER", help="new folder to write summary.json to (default: print it; no run is changed)"
    )
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """Merge the run folders and print the summary, or write it as well."""
    summary = merge(options.folders)
    summary[_MARK] = True
    summary.folder = Path(options.output) if options.output else None
    if summary.folder:
        summary.folder.mkdir(parents=True, exist_ok=True)
        file = summary.folder / SUMMARY
        write_output(
            file, dumps(summary, indent=1), is_ours=lambda _: _is_earlier(summary, summary.folder), force=options.force
        )
    return show(options, _processes_text(summary["processes"]) + summary.text(), summary)


def _is_earlier(summary: Mapping[str, Any], folder: Path | None) -> bool:
    """Return True if a folder holds an earlier merge of the same training, and no run of its own."""
    if folder is None or (folder / EVENTS).exists():
        return False
    try:
        before: Any = read_summary(folder)
    except (OSError, ValueError):
        return False
    return isinstance(before, dict) and before.get(_MARK) is True and bool(_known(before) & _known(summary))


def _known(summary: Mapping[str, Any]) -> set[object]:
    """Return the training of a summary and the identifiers of its processes."""
    shards = summary.get("shards")
    ids = [each.get("id") for each in shards if isinstance(each, Mapping)] if isinstance(shards, list) else []
    return {each for each in (summary.get("training"), *ids) if isinstance(each, str)}


def _processes_text(processes: dict[str, int]) -> str:
    return f"{processes['joined']} of {processes['count']} processes\n\n"
