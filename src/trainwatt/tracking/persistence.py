"""The record of a session on disk: events as they come, the summary every second, all of it at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import PriorAttempts
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.power_history import Stretch
from trainwatt.accounting.timeline import Span, SpanKey
from trainwatt.records.recorder import Recorder
from trainwatt.records.run_folder import writer_identity
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.tracking.job_aggregator import JobAggregator

# A killed process loses at most a second of its record. The sampler's thread looks in every 0.25 s.
_FLUSH_AGAIN_S = 0.7
# Longest delay of a training's start by the first line of its record.
_START_S = 1.0


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
        """The run folder; None if there is none, or it could not be made yet."""
        return self._recording.path

    @property
    def takes_events(self) -> bool:
        """True if there is a run folder, or there will be one as soon as it can be made."""
        return self._recording.is_active

    @property
    def active(self) -> bool:
        """True if there is somebody to write for: a run folder, or the other processes of the job."""
        return self.takes_events or self._job.several

    @property
    def complete_folder(self) -> Path | None:
        """The run folder, if its last summary could be written."""
        return self._recording.complete_folder

    def summary(self, own: RunSnapshot) -> dict[str, Any]:
        """Make the content of ``summary.json``.

        Args:
            own: the snapshot of this process.
        """
        return self._job.aggregated(own).summary() | self._job.record(own) | self._recording.stamp

    def write_summary(self, own: RunSnapshot, *, durable: bool = False) -> None:
        """Replace ``summary.json``.

        Args:
            own: the snapshot of this process.
            durable: it is final; wait until it is on the disk, but not for ever.
        """
        if self.takes_events:
            self._recording.summary(self.summary(own), own.sequence, durable=durable)

    def start(self, run: str, began_unix_s: float, pid: int, token: str = "") -> None:
        """Write that a run has begun, and wait for the disk, but not for long.

        Args:
            run: name of the run.
            began_unix_s: its beginning, in seconds since the Unix epoch.
            pid: id of this process.
            token: an identity of the owner and of its copies in other processes.
        """
        began = {"run": run, "began_unix_s": began_unix_s, "monotonic_s": time.monotonic()}
        owner = {"token": token} if token else {}
        self._recording.event({"event": "start", **began, **writer_identity(), "pid": pid, **owner}, pinned=True)
        self._recording.flush(_START_S)

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
