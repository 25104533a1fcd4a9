"""The sinks of an ordinary run: the report page, the terminal, the projection line, the experiment trackers.

What a sink needs is imported when it is called, at the end of a run: importing it takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.records.snapshot import RunSnapshot
from trainwatt.records.summary import Summary
from trainwatt.reporting.messages import projection_text
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink

if TYPE_CHECKING:
    from trainwatt.reporting.artifacts import ExperimentTracker


class ReportPage(Sink):
    """Write ``report.html`` into the run folder."""

    every_rank = True

    def on_recorded(self, folder: Path) -> None:
        """Write the page."""
        from trainwatt.reporting.html import leave_report  # noqa: PLC0415

        leave_report(folder)


class ProjectionLine(Sink):
    """Print one line with the projection of the whole run.

    Args:
        write_line: prints it; a plugin's own writes above the progress bar.
    """

    def __init__(self, write_line: Callable[[str], object] = print) -> None:
        self._write_line = write_line

    def on_projection(self, snapshot: RunSnapshot, *, again: bool) -> None:
        """Print the line, unless the run is over."""
        if snapshot.projection is not None and snapshot.projection.remaining_s > 0:
            self._write_line(projection_text(snapshot, again=again))


class TerminalSummary(Sink):
    """Print the summary at the end of a run."""

    def on_summary(self, summary: Summary) -> None:
        """Print it in the best form that this place allows."""
        from trainwatt.records.summary_view import summary_view  # noqa: PLC0415
        from trainwatt.reporting.terminal import show  # noqa: PLC0415

        show(summary_view(summary, summary.folder))


class ExperimentTrackers(Sink):
    """Attach the summary and the report to the runs of experiment trackers.

    Attributes:
        find: finds the trackers, at the end of the run; a plugin sets it when a run begins.
    """

    def __init__(self) -> None:
        self.find: Callable[[], list[ExperimentTracker]] = list

    def on_summary(self, summary: Summary) -> None:
        """Attach to each tracker that is found."""
        from trainwatt.reporting.artifacts import attach, found  # noqa: PLC0415

        attach(summary, found(self.find))


def run_sinks(settings: Settings, write_line: Callable[[str], object] = print) -> tuple[Sink, ...]:
    """Make the sinks that the user's settings ask for.

    Args:
        settings: tells whether to print, and whether there is a run folder.
        write_line: prints a line during training.
    """
    page = (ReportPage(),) if settings.output_dir is not None else ()
    return (*page, ProjectionLine(write_line), TerminalSummary()) if settings.verbose else page
