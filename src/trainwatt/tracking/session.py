"""One measured run: events in, snapshots out."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import checkpoint_state, identity_of, resume
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.timeline import Phase
from trainwatt.clock import Since
from trainwatt.distributed.process_group import ALONE, ProcessGroup, leads_host, own_share
from trainwatt.power.accelerators import accelerators_in_use, accelerators_of, united, with_uncounted
from trainwatt.power.device import Found, Missing
from trainwatt.projection.plan import Plan
from trainwatt.projection.projector import Projector
from trainwatt.records.recorder import Recorder, epoch_fields
from trainwatt.records.run_folder import start_time_name
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
_LAST_PART = 0.01  # of the run, that the end of its last epoch waits for the same at most
_SHORT_S = 10.0  # a first epoch of which the last refresh of a counter is a part that counts
_REFRESH_S = 0.2  # how long the first projection waits for it, once


class Session:
    """One measured run.

    All methods but the constructor are safe to call from a training loop: they never raise, and none reads a meter.

    Args:
        settings: the user's, checked.
        kind: the kind of run if it is not a training, e.g. ``"test"``: becomes part of the run's name.
        trains_on: the devices that the program computes on; see :meth:`trainwatt.Tracker.start`.
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
        trains_on: Iterable[object] | None = None,
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
        computes_on = None if trains_on is None else accelerators_of(trains_on)
        # of a custom loop only PyTorch can tell, and maybe not yet
        self._tells_later = computes_on is None and settings.gpus is None
        is_here = found is None
        found = found or settings.discover(settings.gpus or computes_on, self._clock)
        in_use = accelerators_in_use() if self._tells_later else united(settings.gpus, computes_on)
        found = with_uncounted(found, in_use, settings.devices)
        self._leads = processes.is_rank_zero or leads_host()
        found = self._found = own_share(found, leads=self._leads)
        self._warn_of(found.missing)
        settings = settings.at_plug(found).on_hardware(found, is_here=is_here)
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
            found=found,
            training_kwh=training_kwh,
            run_id=self._job.id,
        )
        self._own: RunSnapshot | None = None  # of this process, once it has ended
        self._final: RunSnapshot | None = None  # of the job, likewise
        self._persistence.start(recording.run, since.wall_s, self._pid)
        self._subscription.on_tick = self._on_tick
        self._subscription.reads_first = lambda: self._persistence.flush_is_due(self._clock.monotonic())
        session_registry.register(self)

    @property
    def folder(self) -> Path | None:
        """The run folder; None if there is none."""
        return self._persistence.folder

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Sources that cannot be read."""
        return self._found.missing

    @property
    def running(self) -> bool:
        """True while it measures."""
        return self._snapshots.status == "running"

    @property
    def _is_forked(self) -> bool:
        """True in a forked child, such as a data loader's worker: it is not measured here, and the lock may be held."""
        return os.getpid() != self._pid

    @never_raises
    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """Enter a phase; see :meth:`trainwatt.Tracker.begin`."""
        if self._is_forked:
            return
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.begin(phase, time_s, epoch)
            if epoch is not None and phase == "train":
                self._projector.begin_epoch(epoch, lambda: self._snapshots.take(time_s).own_phases)
        self._subscription.wake()

    @never_raises
    def end(self, phase: Phase) -> None:
        """Leave a phase, and any left open inside it."""
        if self._is_forked:
            return
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.end(phase, time_s)
        self._subscription.wake()

    @never_raises
    def begin_part(self, name: str) -> str | None:
        """Name what follows in this thread, and return the name for :meth:`end_part`.

        The meters are not read, because parts may be as short and as many as steps.
        """
        if self._is_forked:
            return None
        time_s = self._clock.monotonic()
        with self._lock:
            return self._ledger.begin_part(name, time_s)

    @never_raises
    def end_part(self, label: str | None) -> None:
        """End a part; None if it has not begun."""
        if label is None:
            return
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.end_part(label, time_s)

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
    def plan(self, plan: Plan, *, from_now: bool = False) -> None:
        """Set the plan of the present loop of epochs, or of one that begins now; see :meth:`trainwatt.Tracker.plan`."""
        time_s = self._clock.monotonic()
        with self._lock:
            if from_now:
                self._ledger.begin_loop(time_s)
                self._projector.begin_loop(self._ledger.epoch, self._snapshots.take(time_s).own_phases)
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
        """Continue where `state_dict` was taken: what earlier attempts took counts, lost work included.

        A checkpoint of this run, or of an attempt that is counted already, adds nothing.
        """
        own = self.snapshot() if state else None
        if own is None:
            return
        try:
            is_known = identity_of(state) in {own.id, *own.prior.ids}
            # Few runs are resumed.
            from trainwatt.records.attempt_folders import find_attempts  # noqa: PLC0415

            found = () if is_known else find_attempts(state, self._settings.output_dir)
            resumption = resume(state, own.attempts[-1], known=own.prior, found=found)
            with self._lock:
                spans = self._snapshots.resume(resumption) if resumption else []
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            _log.warning("trainwatt: the figures in the checkpoint cannot be parsed; counting starts from zero")
            return
        if spans:
            self._persistence.resume(self._snapshots.prior, spans)

    def count(self, samples: int | None) -> None:
        """Add evaluated or predicted samples; None: their number is unknown."""
        self._snapshots.count(samples)

    @never_raises
    def state(self) -> dict[str, Any]:
        """Return what the other processes of the job should know."""
        time_s = self._subscription.catch_up()
        with self._lock:
            return self._job.rank_record(self._own or self._snapshots.take(time_s)).to_dict()

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
        time_s = self._subscription.catch_up()
        with self._lock:
            snapshot = self._job.aggregated(self._snapshots.take(time_s))
            epoch = epoch_fields(self._ledger.epoch_label, self._ledger.epoch)
        taken = {"seconds": snapshot.total.seconds, "total_j": snapshot.total.total_j}
        self._persistence.log_event({**event, **epoch, **taken})

    @never_raises
    def end_epoch(self) -> RunSnapshot:
        """End an epoch: all that follows belongs to the next. The snapshot holds the run so far and this epoch."""
        self._wait_for_figures()
        time_s = self._subscription.catch_up()
        with self._lock:
            epoch = self._ledger.end_epoch(time_s)
            self._snapshots.epochs += 1
        self._note_uncounted()
        if self._projector.is_last_epoch:
            # What is logged now stays the logger's last word.
            part_s = _LAST_PART * (time_s - self._ledger.begin_s)
            self._subscription.wait_until_settled(time_s, min(_LAST_FIGURES_S, part_s))
        with self._lock:
            snapshot = self._snapshots.take(time_s, epoch)
            self._projector.end_epoch(epoch, snapshot.own_phases)
        return self._job.end_epoch(self._projected(snapshot, time_s, record=True))

    @never_raises
    def wait_until_settled(self) -> None:
        """Wait until the figures up to now are final, half a second at most."""
        self._subscription.wait_until_settled(self._clock.monotonic(), _LAST_FIGURES_S)

    @never_raises
    def snapshot(self) -> RunSnapshot:
        """Take a snapshot of the run so far; the last moments are carried on from the latest samples."""
        time_s = self._subscription.catch_up()
        with self._lock:
            return self._final or self._job.aggregated(self._snapshots.take(time_s))

    @never_raises
    def step_snapshot(self) -> RunSnapshot:
        """Take a snapshot with the training since this was last called: for values within an epoch."""
        time_s = self._subscription.catch_up()
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
        self._note_uncounted()
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

    def _note_uncounted(self) -> None:
        """Note the accelerators that a custom loop has begun to compute on, and that no meter covers."""
        if self._tells_later and not self._found.uncounted:
            before, self._found = (
                self._found,
                own_share(
                    with_uncounted(self._found, accelerators_in_use(), self._settings.devices), leads=self._leads
                ),
            )
            self._snapshots.found = self._found
            self._warn_of(each for each in self._found.missing if each not in before.missing)

    def _warn_of(self, sources: Iterable[Missing]) -> None:
        """Warn of sources that cannot be read, unless a run of this process that is still going on has done so."""
        known = session_registry.missing_elsewhere(self)
        for missing in sources:
            if missing.warn and missing not in known:
                _log.warning("trainwatt: %s cannot be read: %s %s", missing.source, missing.why, missing.remedy)

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
