"""Sinks of results: whoever makes a run hands them in, and the measuring core knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from trainwatt.containment import Failures
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.records.summary import Summary


class Sink:
    """One place where results go. Each method does nothing by default, and may raise.

    Attributes:
        every_rank: True if each process of a job has its own results here; False if only rank 0 has.
    """

    every_rank: bool = False

    def on_projection(self, snapshot: RunSnapshot, *, again: bool) -> None:
        """Take the first projection of the whole run, or one that has left the interval of the last one.

        Args:
            snapshot: has a projection.
            again: True if there was one before.
        """

    def on_recorded(self, folder: Path) -> None:
        """Take a complete run folder; called however the run has ended.

        Args:
            folder: the run folder, with its final ``summary.json`` and ``events.jsonl``.
        """

    def on_summary(self, summary: Summary) -> None:
        """Take the summary of a run that its owner has ended.

        Args:
            summary: of the job, if there are several processes.
        """


class Sinks(Sink):
    """Several sinks as one. One that fails costs itself and one warning; the others still get theirs.

    Args:
        sinks: in the order in which they are called.
        rank: the rank of this process.
        failures: those of the run.
    """

    def __init__(self, sinks: Iterable[Sink] = (), rank: int = 0, failures: Failures | None = None) -> None:
        self._failures = failures or Failures()
        self._sinks = tuple(sink for sink in sinks if rank == 0 or sink.every_rank)

    def on_projection(self, snapshot: RunSnapshot, *, again: bool) -> None:
        """Pass a projection on."""
        self._each(lambda sink: sink.on_projection(snapshot, again=again))

    def on_recorded(self, folder: Path) -> None:
        """Pass a run folder on."""
        self._each(lambda sink: sink.on_recorded(folder))

    def on_summary(self, summary: Summary) -> None:
        """Pass a summary on."""
        self._each(lambda sink: sink.on_summary(summary))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in self._sinks:
            try:
                call(sink)
            except Exception:  # noqa: BLE001, PERF203  # whatever it is, it must not end the training
                self._failures.failed(type(sink).__name__)
