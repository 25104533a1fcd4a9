"""Pages for people: the report of a run, and several runs beside each other. Each is one file that opens offline."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.artifacts import REPORT
from trainwatt.reporting.html.comparison_page import comparison_page
from trainwatt.reporting.html.run_page import run_page

__all__ = ["REPORT", "comparison_page", "leave_report", "report", "run_page", "write"]

_log = logging.getLogger("trainwatt")


def report(runs: Sequence[RecordedRun], metric: str | None = None) -> str:
    """The page of one run, or of several beside each other.

    Args:
        runs: at least one.
        metric: by which to compare several.
    """
    return run_page(runs[0]) if len(runs) == 1 else comparison_page(runs, metric)


def write(path: Path, text: str) -> None:
    """Write a page; a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def leave_report(folder: str | os.PathLike[str]) -> None:
    """Write a run's report into its folder; where that cannot be, tell so, and raise nothing."""
    try:
        write(Path(folder) / REPORT, run_page(read_run(folder)))
    except Exception:  # noqa: BLE001  # a picture that cannot be made must not end the program
        _log.exception("trainwatt: the report cannot be written; `trainwatt report %s` tries again", folder)
