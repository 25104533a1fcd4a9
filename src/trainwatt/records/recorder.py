"""What a session leaves in its run folder, where it has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import PriorAttempts
from trainwatt.accounting.power_history import Stretch
from trainwatt.accounting.timeline import Span, SpanKey, Timeline
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.records.run_folder import RunFolder


class Recorder:
    """Writes events as they come, and the summary each time that there is a newer one.

    Args:
        output_dir: the folder of run folders; None: nothing is written.
        run: the run's name.
        processes: those of the job: the first one makes the run folder.
        within: the run folder of the first process, in which the others have one each; None: beside it.

    Raises:
        OSError: the run folder cannot be made.
    """

    def __init__(self, output_dir: Path | None, run: str, processes: ProcessGroup, within: str | None) -> None:
        self._folder = _make_folder(output_dir, run, processes, within)
        self._epochs = 0  # of which the spans are written
        self.run = self._folder.path.name if self._folder else run

    @property
    def path(self) -> Path | None:
        """The run folder, where there is one."""
        return self._folder.path if self._folder else None

    def queue(self, *events: Mapping[str, Any]) -> None:
        """Have something written soon."""
        if self._folder:
            self._folder.queue(*events)

    def event(self, *events: Mapping[str, Any]) -> None:
        """Write what has happened, after what waits."""
        if self._folder:
            self._folder.event(*events)

    def resumed(self, prior: PriorAttempts, spans: Iterable[tuple[SpanKey, Span]]) -> None:
        """Write what earlier attempts took."""
        attempts = [attempt.to_dict() for attempt in prior.attempts]
        self.event({"event": "resumed", "attempts": attempts}, *(_event(*each) for each in spans))

    def epochs(self, timeline: Timeline, before: int) -> None:
        """Have the spans of all epochs before one that is still open written soon, once."""
        epochs = range(self._epochs, before)
        self._epochs = max(self._epochs, before)
        self.queue(*(_event(*each) for epoch in epochs for each in timeline.epoch(epoch)))

    def power(self, stretches: Iterable[Stretch]) -> None:
        """Write the power since this was last called."""
        if written := [stretch.to_dict() for stretch in stretches]:
            self.event({"event": "power", "stretches": written})

    def summary(self, summary: Mapping[str, Any], *, durable: bool = False) -> None:
        """Replace the summary.

        Args:
            summary: what it holds.
            durable: wait until it is on the disk.
        """
        if self._folder:
            self._folder.summary(summary, durable=durable)

    @property
    def complete_folder(self) -> Path | None:
        """The run folder, if its last summary could be written."""
        return self._folder.path if self._folder and self._folder.writable else None


def _event(key: SpanKey, span: Span) -> dict[str, Any]:
    return {"event": "span", "epoch": key.epoch, "phase": key.phase, **span.to_dict()}


def _make_folder(output_dir: Path | None, run: str, processes: ProcessGroup, within: str | None) -> RunFolder | None:
    if output_dir is None:
        return None
    if processes.first:
        return RunFolder(output_dir, run)
    own = f"rank-{processes.rank}"
    return RunFolder(output_dir / within, own) if within else RunFolder(output_dir, f"{run}-{own}")
