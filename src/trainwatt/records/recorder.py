"""Output files of a session in its run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import PriorAttempts
from trainwatt.accounting.epoch_index import EpochLabel
from trainwatt.accounting.power_history import Stretch
from trainwatt.accounting.timeline import Span, SpanKey
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.records.run_folder import RunFolder


class Recorder:
    """Writer of events and summaries; does nothing without an output directory. No method raises.

    Args:
        output_dir: parent of the run folders; None to write nothing.
        run: name of the run.
        processes: processes of the job; rank 0 makes the run folder.
        within: name of rank 0's run folder, in which the other ranks make theirs; None makes them alongside.
    """

    def __init__(self, output_dir: Path | None, run: str, processes: ProcessGroup, within: str | None) -> None:
        self._folder = _make_folder(output_dir, run, processes, within)
        self.run = self.path.name if self.path else run

    @property
    def path(self) -> Path | None:
        """Run folder; None if there is none, or it could not be made yet."""
        return self._folder.path if self._folder else None

    @property
    def is_active(self) -> bool:
        """True if there is a run folder, or there will be one as soon as it can be made."""
        return self._folder is not None

    @property
    def stamp(self) -> dict[str, Any]:
        """Fields of the last summary that say when and by whom it was written; empty if there is none."""
        return self._folder.stamp if self._folder else {}

    def queue(self, *events: Mapping[str, Any]) -> None:
        """Queue events for the next write."""
        if self._folder:
            self._folder.queue(*events)

    def event(self, *events: Mapping[str, Any], pinned: bool = False) -> None:
        """Have events written soon, after the queued ones.

        Args:
            events: the caller must not change them afterwards.
            pinned: keep them however many follow, if the disk is full or the folder is lost.
        """
        if self._folder:
            self._folder.queue(*events, pinned=pinned)
            self._folder.write_queue()

    def flush(self, limit_s: float) -> None:
        """Wait until everything was written that could be.

        Args:
            limit_s: longest wait.
        """
        if self._folder:
            self._folder.flush(limit_s)

    def resumed(self, prior: PriorAttempts, spans: Iterable[tuple[SpanKey, Span]]) -> None:
        """Write the figures of earlier attempts."""
        # Their phases follow as spans.
        attempts = [replace(attempt, phases={}).to_dict() for attempt in prior.attempts]
        events = (_event(EpochLabel(0, key.epoch), key, span) for key, span in spans)
        self.event({"event": "resumed", "attempts": attempts}, *events, pinned=True)

    def epochs(self, spans: Iterable[tuple[EpochLabel, SpanKey, Span]]) -> None:
        """Queue the spans of epochs that are over."""
        self.queue(*(_event(*each) for each in spans))

    def power(self, stretches: Iterable[Stretch]) -> None:
        """Write the power history since the last call."""
        if written := [stretch.to_dict() for stretch in stretches]:
            self.event({"event": "power", "stretches": written})

    def summary(self, summary: Mapping[str, Any], sequence: int, *, durable: bool = False) -> None:
        """Replace the summary.

        Args:
            summary: the new content; the caller must not change it afterwards.
            sequence: number of its snapshot in the run.
            durable: it is final; wait until it is on the disk, but not for ever.
        """
        if self._folder:
            self._folder.summary(summary, sequence, durable=durable)

    @property
    def complete_folder(self) -> Path | None:
        """Run folder, if its last summary could be written, else None."""
        return self._folder.path if self._folder and self._folder.is_complete else None


def epoch_fields(label: EpochLabel, index: int) -> dict[str, int]:
    """Return the fields of an event that name its epoch.

    Args:
        label: the user's number of the epoch, and the loop that it belongs to.
        index: running index of the epoch in the run, which is unique.
    """
    return {"epoch": label.number, "loop": label.loop, "index": index}


def _event(label: EpochLabel, key: SpanKey, span: Span) -> dict[str, Any]:
    return {"event": "span", **epoch_fields(label, key.epoch), "phase": key.phase, **span.to_dict()}


def _make_folder(output_dir: Path | None, run: str, processes: ProcessGroup, within: str | None) -> RunFolder | None:
    if output_dir is None:
        return None
    if processes.is_rank_zero:
        return RunFolder(output_dir, run)
    own = f"rank-{processes.rank}"
    return RunFolder(output_dir / within, own) if within else RunFolder(output_dir, f"{run}-{own}")
