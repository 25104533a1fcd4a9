"""Sinks of a run: report page, terminal summary, projection line and experiment trackers.

Sinks import their modules when they are called, because the imports take milliseconds and are needed only at the end of
a run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.files.background import within
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.records.summary import Summary
from trainwatt.reporting import console
from trainwatt.reporting.messages import projection_text
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink

if TYPE_CHECKING:
    from trainwatt.reporting.artifacts import ExperimentTracker

# Longest delay of the end of a run by a disk that does not answer.
_PATIENCE_S = 15.0


class ReportPage(Sink):
    """Sink that writes ``report.html`` into the run folder."""

    every_rank = True

    def on_recorded(self, folder: Path) -> None:
        """Write the page."""
        from trainwatt.reporting.html import write_report  # noqa: PLC0415

        within(_PATIENCE_S, lambda: write_report(folder))


class ProjectionLine(Sink):
    """Sink that prints the projection of the whole run in one line.

    Args:
        write_line: prints a line; a plugin passes a function that writes above the progress bar. If it fails, the line
            is printed without it.
    """

    def __init__(self, write_line: Callable[[str], object] = console.write_line) -> None:
        self._write_line = write_line

    def on_projection(self, snapshot: RunSnapshot, *, again: bool) -> None:
        """Print the line, unless the run is over."""
        if snapshot.projection is not None and snapshot.projection.remaining_s > 0:
            line = projection_text(snapshot, again=again)
            try:
                self._write_line(line)
            except Exception:  # noqa: BLE001  # a progress bar may raise anything
                console.write_line(line)


class TerminalSummary(Sink):
    """Sink that prints the summary at the end of a run."""

    def on_summary(self, summary: Summary) -> None:
        """Print the summary in the best form that the output supports."""
        from trainwatt.records.summary_view import summary_view  # noqa: PLC0415
        from trainwatt.reporting.terminal import show  # noqa: PLC0415

        show(summary_view(summary, summary.folder))


class ExperimentTrackers(Sink):
    """Sink that attaches the summary and the report to the runs of experiment trackers.

    Attributes:
        find: returns the trackers at the end of the run; a plugin sets it when a run begins.
    """

    def __init__(self) -> None:
        self.find: Callable[[], list[ExperimentTracker]] = list

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy holds: no trackers, whose runs belong to this process."""
        return {"find": list}

    def on_summary(self, summary: Summary) -> None:
        """Attach the artifacts to each tracker that is found."""
        from trainwatt.reporting.artifacts import attach, found  # noqa: PLC0415

        attach(summary, found(self.find))


def run_sinks(settings: Settings, write_line: Callable[[str], object] = console.write_line) -> tuple[Sink, ...]:
    """Create the sinks that the settings ask for.

    Args:
        settings: ``output_dir`` selects the report page, ``verbose`` the printed output.
        write_line: prints a line during training.
    """
    page = (ReportPage(),) if settings.output_dir is not None else ()
    return (*page, ProjectionLine(write_line), TerminalSummary()) if settings.verbose else page
