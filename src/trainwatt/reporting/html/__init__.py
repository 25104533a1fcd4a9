"""HTML pages: the report of one run and the comparison of several. Each is one file that opens offline."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from trainwatt.files.output_file import write_output
from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.artifacts import REPORT
from trainwatt.reporting.html.comparison_page import comparison_page
from trainwatt.reporting.html.run_page import run_page

__all__ = ["REPORT", "comparison_page", "report", "run_page", "write", "write_report"]

_GENERATOR = re.compile(rb"<meta[^>]*generator[^>]*trainwatt")
_log = logging.getLogger("trainwatt")


def report(runs: Sequence[RecordedRun], metric: str | None = None) -> str:
    """Build the report of one run, or the comparison of several.

    Args:
        runs: at least one.
        metric: name of the metric to compare several runs by; None for the one that most of them have.
    """
    return run_page(runs[0]) if len(runs) == 1 else comparison_page(runs, metric)


def write(path: Path, text: str, *, force: bool = False) -> None:
    """Write a page as a whole, so that a reader never sees a partial file.

    Args:
        path: the file.
        text: the page.
        force: replace whatever file is there; otherwise only an earlier page.

    Raises:
        ForeignFileError: if a file is there that is no page of trainwatt.
        OSError: if it cannot be written.
    """
    write_output(path, text, is_ours=is_page, force=force)


def is_page(head: bytes) -> bool:
    """Return True for the beginning of a page of trainwatt."""
    return _GENERATOR.search(head) is not None


def write_report(folder: str | os.PathLike[str]) -> None:
    """Write the report of a run into its folder. Errors are logged and not raised."""
    try:
        write(Path(folder) / REPORT, run_page(read_run(folder)))
    except Exception:  # noqa: BLE001
        # A report that fails must not end the training run.
        _log.exception("trainwatt: the report could not be written; to retry, run `trainwatt report %s`", folder)
