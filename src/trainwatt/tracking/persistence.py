"""The record of a session on disk: events as they come, the summary every second, all of it at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import PriorAttempts
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.power_history import Stretch
from trainwatt.accounting.timeline import Span, SpanKey
from trainwatt.records.recorder import Recorder
from trainwatt.records.run_folder import pid_space
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.tracking.job_aggregator import JobAggregator

# A killed process loses at most a second of its record. The sampler's thread looks in every 0.25 s.
_FLUSH_AGAIN_S = 0.7


class Persistence:
    """Write a session's record.

    Args:
        recording: the run folder, if there is one.
        together: the job, whose summary is written.
        ledger: what happened.
    """

    def __init__(self, recording: Recorder, job: JobAggregator, ledger: Ledger) -> None:
        self._recording, self._job, self._ledger = recording, job, ledger
        self._flushed_s = -math.inf

    @property
    def folder(self) -> Path | None:
        """The run folder; None if there is none."""
        return self._recording.path

    @property
    def active(self) -> bool:
        """True if there is somebody to write for: a run folder, or the other processes of the job."""
        return self.folder is not None or self._job.several

    @property
    def complete_folder(self) -> Path | None:
        """The run folder, if its last summary could be written."""
        return self._recording.complete_folder

    def summary(self, own: RunSnapshot) -> dict[str, Any]:
        """Make the content of ``summary.json``.

        Args:
            own: the snapshot of this process.
        """
        return self._job.aggregated(own).summary() | self._job.record(own)

    def write_summary(self, own: RunSnapshot, *, durable: bool = False) -> None:
        """Replace ``summary.json``.

        Args:
            own: the snapshot of this process.
            durable: wait until it is on the disk.
        """
        if self.folder:
            self._recording.summary(self.summary(own), durable=durable)

    def start(self, run: str, began_unix_s: float, pid: int) -> None:
        """Write that a run has begun."""
        start = {"event": "start", "run": run, "began_unix_s": began_unix_s, "pid": pid, "pid_space": pid_space()}
        self._recording.event(start)

    def resume(self, prior: PriorAttempts, spans: Iterable[tuple[SpanKey, Span]]) -> None:
        """Write what earlier attempts took."""
        self._recording.resumed(prior, spans)

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Queue an event; the sampler's thread writes it soon."""
        self._recording.queue(event)

    def queue_epochs(self, before: int) -> None:
        """Queue the spans of all epochs before one that is still open, once."""
        self._recording.epochs(self._ledger.take_epochs(before))

    def write_queue(self) -> None:
        """Write what is queued."""
        self._recording.event()

    def flush_is_due(self, now_s: float) -> bool:
        """Tell if a new summary should be written now."""
        return now_s - self._flushed_s >= _FLUSH_AGAIN_S

    def flush(self, own: RunSnapshot, now_s: float) -> None:
        """Write the summary so far.

        Args:
            own: the snapshot of this process.
            now_s: on the monotonic clock.
        """
        self._flushed_s = now_s
        self._job.tick(own)
        self.write_summary(own)

    def write_power(self, stretches: Iterable[Stretch]) -> None:
        """Append stretches of power."""
        self._recording.power(stretches)

    def finish(self, own: RunSnapshot, total_j: float) -> None:
        """Write the end of a run, and wait until it is on the disk.

        Args:
            own: the snapshot of this process.
            total_j: joules of the job.
        """
        self.write_power(self._ledger.power.take(last=True))
        self._recording.event({"event": "end", "status": own.status, "total_j": total_j})
        self.write_summary(own, durable=True)
