"""One measured run: events in, snapshots out."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import checkpoint_state, prior_attempts
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.timeline import Phase
from trainwatt.clock import Since
from trainwatt.distributed.process_group import ALONE, ProcessGroup, leads_host, own_share
from trainwatt.power.device import Found
from trainwatt.projection.plan import Plan
from trainwatt.projection.projector import Projector
from trainwatt.records.recorder import Recorder
from trainwatt.records.run_folder import find_summary, start_time_name
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.sampling.sampler import Sampler, shared_sampler
from trainwatt.tracking import session_registry
from trainwatt.tracking.guard import never_raises
from trainwatt.tracking.job_aggregator import JobAggregator
from trainwatt.tracking.persistence import Persistence
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink, Sinks
from trainwatt.tracking.snapshots import Snapshots

_log = logging.getLogger("trainwatt")

_LAST_FIGURES_S = 0.5  # how long the end of a run waits for the counters' last refresh
_SHORT_S = 10.0  # a first epoch of which the last refresh of a counter is a part that counts
_REFRESH_S = 0.2  # how long the first projection waits for it, once


class Session:
    """One measured run.

    All methods but the constructor are safe to call from a training loop: they never raise, and none reads a meter.

    Args:
        settings: the user's, checked.
        kind: the kind of run if it is not a training, e.g. ``"test"``: becomes part of the run's name.
        gpu_uuids: the GPUs that the framework uses; None: all that this process can see.
        found: the meters to read; None: the best sources of this machine.
        sampler: provides the samples; None: the process's own sampler.
        training_kwh: energy of the training whose model this run uses; None if unknown.
        sinks: where results go.
        processes: those of the job.
        within: the run folder of rank 0, in which this one has its own; None if unknown.

    Raises:
        OSError: the run folder cannot be made.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        kind: str = "",
        gpu_uuids: Sequence[str] | None = None,
        found: Found | None = None,
        sampler: Sampler | None = None,
        training_kwh: float | None = None,
        sinks: Iterable[Sink] = (),
        processes: ProcessGroup = ALONE,
        within: str | None = None,
    ) -> None:
        self._settings = settings
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._sinks = Sinks(sinks, processes.rank)
        sampler = sampler or shared_sampler()
        self._clock = sampler.clock
        run = "-".join(filter(None, (settings.run_name or start_time_name(self._clock.wall()), kind)))
        recording = Recorder(settings.output_dir, run, processes, within)
        found = found or settings.discover(gpu_uuids, self._clock)
        found = own_share(found, leads=processes.is_rank_zero or leads_host())
        _warn_of_missing(found)
        self._subscription = sampler.subscribe(found.meters, interval_s=settings.interval_s)
        # what was drawn before all meters were read nobody can tell
        since = Since(self._clock)
        self._ledger = Ledger(self._subscription, since.monotonic_s)
        self._projector = Projector(settings.project_after)
        self._job = JobAggregator(processes, since.wall_s)
        self._persistence = Persistence(recording, self._job, self._ledger)
        self._snapshots = Snapshots(
            recording.run,
            settings,
            self._ledger,
            self._subscription,
            since,
            missing=found.missing,
            training_kwh=training_kwh,
        )
        self._own: RunSnapshot | None = None  # of this process, once it has ended
        self._final: RunSnapshot | None = None  # of the job, likewise
        self._persistence.start(recording.run, since.wall_s, self._pid)
        self._subscription.on_tick = self._on_tick
        session_registry.register(self)

    @property
    def folder(self) -> Path | None:
        """The run folder; None if there is none."""
        return self._persistence.folder

    @property
    def running(self) -> bool:
        """True while it measures."""
        return self._snapshots.status == "running"

    @never_raises
    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """Enter a phase; see :meth:`trainwatt.Tracker.begin`."""
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.begin(phase, time_s, epoch)
        self._subscription.wake()

    @never_raises
    def end(self, phase: Phase) -> None:
        """Leave a phase, and any left open inside it."""
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.end(phase, time_s)
        self._subscription.wake()

    def step(self, count: int = 1) -> None:
        """Count steps."""
        ledger = self._ledger
        ledger.step(count, self._clock.monotonic())
        if ledger.steps >= self._projector.due_step:
            self._project_now()

    def batch(self, count: int = 1) -> None:
        """Count batches of an evaluation; with 0, mark that something other than a step ends here."""
        self._ledger.batch(count, self._clock.monotonic())

    @never_raises
    def plan(self, plan: Plan) -> None:
        """Set what remains to be done, from the beginning of the run; again if more is known."""
        with self._lock:
            self._projector.plan(plan)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for a resumed training to continue; empty if unknown."""
        snapshot = self.snapshot()
        return (
            checkpoint_state(snapshot.summary(), str(self.folder.resolve()) if self.folder else None)
            if snapshot
            else {}
        )

    @never_raises
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken: what earlier attempts took counts, lost work included."""
        if not state or self._snapshots.prior.attempts:
            return
        try:
            prior = prior_attempts(state, find_summary(state.get("folder")))
        except (AttributeError, KeyError, TypeError, ValueError):
            _log.warning("trainwatt: the figures in the checkpoint cannot be parsed; counting starts from zero")
            return
        with self._lock:
            spans = self._snapshots.resume(prior)
        self._persistence.resume(prior, spans)

    def count(self, samples: int | None) -> None:
        """Add evaluated or predicted samples; None: their number is unknown."""
        self._snapshots.count(samples)

    @never_raises
    def state(self) -> dict[str, Any]:
        """Return what the other processes of the job should know."""
        with self._lock:
            return self._job.rank_record(self._own or self._snapshots.take(self._clock.monotonic())).to_dict()

    @never_raises
    def merge(self, states: Iterable[object]) -> None:
        """Merge what other processes sent: snapshots are of the job from now on."""
        with self._lock:
            self._job.merge(states)
            if self._own is not None:
                self._final = self._job.aggregated(self._own)
                self._persistence.write_summary(self._own, durable=True)

    @never_raises
    def poll_folders(self, *, last: bool = False) -> None:
        """Merge what the other processes have written, if there is no collective.

        Args:
            last: True if all are about to write their last figures, so that a short wait is worth it.
        """
        if self._settings.output_dir:
            self.merge(self._job.poll_folders(self._settings.output_dir, last=last))

    def summary(self) -> dict[str, Any]:
        """Return the content of ``summary.json`` of a run that has ended; empty before."""
        return self._persistence.summary(self._own) if self._own else {}

    @never_raises
    def log_event(self, event: Mapping[str, Any]) -> None:
        """Log an event to the run folder, with what the run has taken by then."""
        if self.folder is None:
            return
        time_s = self._clock.monotonic()
        with self._lock:
            snapshot, epoch = self._job.aggregated(self._snapshots.take(time_s)), self._ledger.epoch
        taken = {"epoch": epoch, "seconds": snapshot.total.seconds, "total_j": snapshot.total.total_j}
        self._persistence.log_event({**event, **taken})

    @never_raises
    def end_epoch(self) -> RunSnapshot:
        """End an epoch: all that follows belongs to the next. The snapshot holds the run so far and this epoch."""
        self._wait_for_figures()
        time_s = self._clock.monotonic()
        with self._lock:
            epoch = self._ledger.end_epoch(time_s)
            self._snapshots.epochs += 1
            snapshot = self._snapshots.take(time_s, epoch)
            self._projector.end_epoch(epoch, snapshot.own_phases)
        self._subscription.wake()
        return self._job.end_epoch(self._projected(snapshot, time_s, record=True))

    @never_raises
    def wait_until_settled(self) -> None:
        """Wait until the figures up to now are final, half a second at most."""
        self._subscription.wait_until_settled(self._clock.monotonic(), _LAST_FIGURES_S)

    @never_raises
    def snapshot(self) -> RunSnapshot:
        """Take a snapshot of the run so far; the last moments are carried on from the latest samples."""
        with self._lock:
            return self._final or self._job.aggregated(self._snapshots.take(self._clock.monotonic()))

    @never_raises
    def step_snapshot(self) -> RunSnapshot:
        """Take a snapshot with the training since this was last called: for values within an epoch."""
        time_s = self._clock.monotonic()
        with self._lock:
            snapshot = self._snapshots.take_recent(time_s)
        snapshot = self._projected(snapshot, time_s) if time_s >= self._projector.again_s else snapshot
        return self._job.aggregated(snapshot)

    def finish(self, status: Status = "finished") -> RunSnapshot | None:
        """End the run, write its final figures, release the devices. Called again, return the same snapshot."""
        if self.running and os.getpid() == self._pid:
            self._finish(status)
            if self._final and (folder := self._persistence.complete_folder):
                self._sinks.on_recorded(folder)
        return self._final

    @never_raises
    def _finish(self, status: Status) -> None:
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.close(time_s)
        self._subscription.wait_until_settled(time_s, _LAST_FIGURES_S)
        with self._lock:
            self._ledger.book(time_s)
            self._snapshots.status = status
            self._own = self._snapshots.take(time_s)
            self._final = self._job.aggregated(self._own)
            self._persistence.queue_epochs(self._ledger.epoch + 1)
        self._close()
        self._persistence.finish(self._own, self._final.total.total_j)

    def give_up(self) -> None:
        """Log that something of ours has failed, once, keep what was written, and stay out of the way."""
        _log.exception("trainwatt: measuring stops here, training goes on; what was counted is kept")
        self._snapshots.status = "failed"
        self._close()

    def _close(self) -> None:
        session_registry.unregister(self)
        self._snapshots.close()
        self._subscription.close()

    @never_raises
    def _on_tick(self) -> None:
        """Book and write what is final; called in the sampler's thread after each round of readings."""
        with self._lock:
            if not self.running:
                return
            self._snapshots.book()
            self._persistence.queue_epochs(self._ledger.settled_epoch)
        self._persistence.write_queue()
        if self._persistence.flush_is_due(self._clock.monotonic()):
            self.flush()

    @never_raises
    def flush(self) -> None:
        """Write what is known now: all that is left if the process is killed."""
        if not (self.running and self._persistence.active):
            return
        now_s = self._clock.monotonic()
        with self._lock:
            own = self._snapshots.take(now_s)
        self._persistence.flush(own, now_s)
        with self._lock:
            stretches = self._ledger.power.take()
        self._persistence.write_power(stretches)

    @never_raises
    def _project_now(self) -> None:
        """Project for the first time within an epoch: the steps have been made after which this is due."""
        self._projector.step_is_due()
        self.begin("other")
        self._wait_for_figures()
        self.end("other")
        time_s = self._clock.monotonic()
        with self._lock:
            snapshot = self._snapshots.take(time_s)
        self._projected(snapshot, time_s)

    def _wait_for_figures(self) -> None:
        """Wait for the counters to update: before, the energy of a short first epoch is unknown."""
        time_s = self._clock.monotonic()
        if self._projector.begins and time_s - self._ledger.begin_s < _SHORT_S:
            self._subscription.wait_until_settled(time_s, _REFRESH_S)

    def _projected(self, snapshot: RunSnapshot, now_s: float, *, record: bool = False) -> RunSnapshot:
        """Add the projection, once that is due; news go to the sinks, and are logged like an epoch's."""
        with self._lock:
            state = self._snapshots
            projection = self._projector.project(snapshot.own_phases, state.prior, self._ledger, state.unbooked, now_s)
            if projection is None:
                return snapshot
            snapshot = state.project(snapshot, projection)
            news = self._projector.is_news(projection)
        joined = self._job.aggregated(snapshot)
        if record or news:
            self._persistence.log_event({"event": "projection", **(joined.projection_summary() or {})})
        if news:
            self._sinks.on_projection(joined, again=news == "again")
        return snapshot


def _warn_of_missing(found: Found) -> None:
    for missing in found.missing:
        if missing.warn:
            _log.warning("trainwatt: %s cannot be read: %s %s", missing.source, missing.why, missing.remedy)
