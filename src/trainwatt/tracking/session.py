"""One measured run: events in, snapshots out."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from trainwatt.accounting.attempts import checkpoint_state, identity_of, resume
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.notes import note_event, score_event
from trainwatt.accounting.timeline import Phase
from trainwatt.clock import Since
from trainwatt.containment import Contained, Failures
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
from trainwatt.tracking.guard import never_raises, never_raises_briefly, nothing
from trainwatt.tracking.job_aggregator import JobAggregator
from trainwatt.tracking.persistence import Persistence
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink, Sinks
from trainwatt.tracking.snapshots import Snapshots

T = TypeVar("T")

_log = logging.getLogger("trainwatt")

_NO_PROJECTION = "the whole run is not projected any more; measuring goes on"
_LAST_FIGURES_S = 0.5  # how long the end of a run waits for the counters' last refresh
_LAST_PART = 0.01  # of the run, that the end of its last epoch waits for the same at most
_SHORT_S = 10.0  # a first epoch of which the last refresh of a counter is a part that counts
_REFRESH_S = 0.2  # how long the first projection waits for it, once


class Session:
    """One measured run.

    All methods but the constructor are safe to call from a training loop: they never raise, and none reads a meter.
    Each part, such as the projection, the footprint, the record and each sink, contains its own failures: they cost the
    part and one warning. If the ledger itself is broken, the run ends, and what was counted up to then is its result.

    Only its owner refers to it. If the owner is garbage, the run was abandoned, and ends as ``interrupted``.

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
        failures: those of the run so far.
        token: an identity of the owner and of its copies in other processes, written into the record.
        began_in: where the owner has begun the run, which ends with it; see
            :class:`trainwatt.tracking.session_registry.Beginning`. None: there is no owner.
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
        failures: Failures | None = None,
        token: str = "",
        began_in: session_registry.Beginning | None = None,
    ) -> None:
        self._settings = settings
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._finishing = threading.RLock()
        self._failures = failures = failures or Failures()
        self._sinks = Sinks(sinks, processes.rank, failures)
        sampler = sampler or shared_sampler()
        self._clock = sampler.clock
        run = "-".join(filter(None, (settings.run_name or start_time_name(self._clock.wall()), kind)))
        recording = Recorder(settings.output_dir, run, processes, within)
        computes_on = failures.result(
            "the search for the devices of the training",
            lambda: None if trains_on is None else accelerators_of(trains_on),
            None,
            "all devices are measured",
        )
        # of a custom loop only PyTorch can tell, and maybe not yet
        self._tells_later = computes_on is None and settings.gpus is None
        is_here = found is None
        found = found or failures.result(
            "the search for meters",
            lambda: settings.discover(settings.gpus or computes_on, self._clock),
            Found(),
            "no energy is measured",
        )
        in_use = accelerators_in_use() if self._tells_later else united(settings.gpus, computes_on)
        found = with_uncounted(found.without_broken(), in_use, settings.devices)
        self._leads = processes.is_rank_zero or leads_host()
        found = self._found = own_share(found, leads=self._leads)
        self._warn_of(found.missing)
        settings = failures.result(
            "the look at the hardware",
            lambda: settings.at_plug(found).on_hardware(found, is_here=is_here),
            settings,
            "its plug factor and its PUE are not known",
        )
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
            failures=failures,
        )
        self._latest: RunSnapshot | None = None  # of this process
        self._own: RunSnapshot | None = None  # of this process, once it has ended
        self._final: RunSnapshot | None = None  # of the job, likewise
        with self._recorded():
            self._persistence.start(recording.run, since.wall_s, self._pid, token if processes.is_rank_zero else "")
        self._subscription.on_tick = _weakly(self._on_tick)
        self._subscription.reads_first = _weakly(self._flush_is_due)
        self.began_in = began_in
        with failures.contained("the watch for signals", "a signal ends the record where it is"):
            session_registry.register(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy is: no copy of a session measures."""
        return nothing, ()

    def __del__(self) -> None:
        """End a run whose owner is gone."""
        is_owned = getattr(self, "began_in", None) is not None and not self._is_forked
        if is_owned and not sys.is_finalizing():
            session_registry.end_in_thread(self)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._snapshots.run

    @property
    def folder(self) -> Path | None:
        """The run folder; None if there is none."""
        return self._failures.result("the record", lambda: self._persistence.folder, None)

    @property
    def _takes_events(self) -> bool:
        return self._failures.result("the record", lambda: self._persistence.takes_events, default=False)

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

    @never_raises_briefly
    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """Enter a phase; see :meth:`trainwatt.Tracker.begin`."""
        if self._is_forked:
            return
        time_s = self._clock.monotonic()
        with self._lock:
            try:
                self._ledger.begin(phase, time_s, epoch)
            except Exception:  # noqa: BLE001  # a block would cost as much as the mark
                self._unmarked()
            if epoch is not None and phase == "train":
                self._projecting(lambda: self._projector.begin_epoch(epoch, lambda: self._take(time_s).own_phases))
        self._wake()

    @never_raises_briefly
    def end(self, phase: Phase) -> None:
        """Leave a phase, and any left open inside it."""
        if self._is_forked:
            return
        time_s = self._clock.monotonic()
        with self._lock:
            try:
                self._ledger.end(phase, time_s)
            except Exception:  # noqa: BLE001  # as above
                self._unmarked()
        self._wake()

    @never_raises_briefly
    def begin_part(self, name: str) -> str | None:
        """Name what follows in this thread, and return the name for :meth:`end_part`.

        The meters are not read, because parts may be as short and as many as steps.
        """
        if self._is_forked:
            return None
        time_s = self._clock.monotonic()
        with self._lock:
            return self._failures.result("the mark of a part", lambda: self._ledger.begin_part(name, time_s), None)

    @never_raises_briefly
    def end_part(self, label: str | None) -> None:
        """End a part; None if it has not begun."""
        if label is None:
            return
        time_s = self._clock.monotonic()
        with self._lock, self._failures.contained("the mark of a part"):
            self._ledger.end_part(label, time_s)

    def step(self, count: int = 1) -> None:
        """Count steps."""
        try:
            ledger = self._ledger
            ledger.step(count, self._clock.monotonic())
            if ledger.steps >= self._projector.due_step:
                self._project_now()
        except Exception:  # noqa: BLE001  # a block would cost as much as the step
            self._failures.failed("the count of steps", "steps are missing; energy is not")

    def batch(self, count: int = 1) -> None:
        """Count batches of an evaluation; with 0, mark that something other than a step ends here."""
        try:
            self._ledger.batch(count, self._clock.monotonic())
        except Exception:  # noqa: BLE001  # as for a step
            self._failures.failed("the count of batches", "the projection is less precise")

    @never_raises
    def plan(self, plan: Plan, *, from_now: bool = False) -> None:
        """Set the plan of the present loop of epochs, or of one that begins now; see :meth:`trainwatt.Tracker.plan`."""
        time_s = self._clock.monotonic()
        with self._lock:
            if from_now:
                with self._failures.contained("the mark of a loop", "its epochs count in the loop before"):
                    self._ledger.begin_loop(time_s)
                phases = self._take(time_s).own_phases
                self._projecting(lambda: self._projector.begin_loop(self._ledger.epoch, phases))
            self._projecting(lambda: self._projector.plan(plan))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for a resumed training to continue; empty if unknown."""
        return self._failures.result(
            "the state for a checkpoint", self._state_dict, {}, "a training resumed from it does not know this one"
        )

    def _state_dict(self) -> dict[str, Any]:
        snapshot = self.snapshot()
        if snapshot is None:
            return {}
        return checkpoint_state(snapshot.summary(), str(self.folder) if self.folder else None)

    @never_raises
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken: what earlier attempts took counts, lost work included.

        A checkpoint of this run, or of an attempt that is counted already, adds nothing.
        """
        own = self.snapshot() if state else None
        if own is None:
            return
        try:
            # Few runs are resumed.
            from trainwatt.records.attempt_folders import find_attempts  # noqa: PLC0415
            from trainwatt.schema import checkpoint  # noqa: PLC0415

            state = checkpoint.monitor(state)
            is_known = identity_of(state) in {own.id, *own.prior.ids}
            found = () if is_known else find_attempts(state, self._settings.output_dir)
            resumption = resume(state, own.attempts[-1], known=own.prior, found=found)
            with self._lock:
                spans = self._snapshots.resume(resumption) if resumption else []
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            sentence = "trainwatt: the figures in the checkpoint cannot be parsed; counting starts from zero: %s"
            _log.warning(sentence, error)
            return
        if spans:
            self._persistence.resume(self._snapshots.prior, spans)

    def count(self, samples: int | None) -> None:
        """Add evaluated or predicted samples; None: their number is unknown."""
        with self._failures.contained("the count of samples"):
            self._snapshots.count(samples)

    @never_raises
    def state(self) -> dict[str, Any]:
        """Return what the other processes of the job should know."""
        time_s = self._catch_up()
        with self._lock:
            return self._job.rank_record(self._own or self._take(time_s)).to_dict()

    @never_raises
    def merge(self, states: Iterable[object]) -> None:
        """Merge what other processes sent: snapshots are of the job from now on."""
        with self._lock:
            self._job.merge(states)
            if self._own is not None:
                self._final = self._aggregated(self._own)
                with self._recorded():
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
        own = self._own
        if own is None:
            return {}
        unknown: dict[str, Any] = {}
        for make in (lambda: self._persistence.summary(own), own.summary):
            if summary := self._failures.result("the summary", make, unknown):
                return summary
        return own.least_summary()

    @never_raises
    def log_event(self, event: Mapping[str, Any]) -> None:
        """Log an event to the run folder, with what the run has taken by then."""
        if not self._takes_events or not self.running:
            return
        time_s = self._catch_up()
        with self._lock:
            snapshot = self._aggregated(self._take(time_s))
            epoch = epoch_fields(self._ledger.epoch_label, self._ledger.epoch)
        taken = {"seconds": snapshot.total.seconds, "total_j": snapshot.total.total_j}
        with self._recorded():
            self._persistence.log_event({**event, **epoch, **taken})

    def note(self, note: object) -> None:
        """Log a person's own note; see :func:`trainwatt.accounting.notes.note_event`."""
        self._log_of_user(lambda: note_event(note))

    def score(self, name: object, value: object) -> None:
        """Log a metric of the user's loop; see :func:`trainwatt.accounting.notes.score_event`."""
        self._log_of_user(lambda: score_event(name, value))

    def _log_of_user(self, make: Callable[[], dict[str, Any]]) -> None:
        if not self._takes_events:
            return
        event = make()
        for path, why in event.get("problems", {}).items():
            what = f"{path} of the {event['event']} {event['name']!r}"
            self._failures.warn(event["event"], f"{what} is written as null: {why}. Further ones are written likewise")
        self.log_event(event)

    def end_epoch(self) -> RunSnapshot | None:
        """End an epoch: all that follows belongs to the next. The snapshot holds the run so far and this epoch."""
        return (self._end_epoch() if self.running else None) or self._final

    @never_raises
    def _end_epoch(self) -> RunSnapshot:
        self._wait_for_figures()
        time_s, epoch = self._catch_up(), None
        with self._lock:
            try:
                epoch = self._ledger.end_epoch(time_s)
            except Exception:  # noqa: BLE001  # an epoch more or less
                self._failures.failed("the end of an epoch", "its energy counts in the next one")
                self._check_account()
            self._snapshots.epochs += 1
        self._note_uncounted()
        if self._projecting(lambda: self._projector.is_last_epoch):
            # What is logged now stays the logger's last word.
            part_s = _LAST_PART * (time_s - self._ledger.begin_s)
            self._wait_until_settled(time_s, min(_LAST_FIGURES_S, part_s))
        with self._lock:
            snapshot = self._take(time_s, epoch)
            if epoch is not None:
                self._projecting(lambda: self._projector.end_epoch(epoch, snapshot.own_phases))
        own = self._projected(snapshot, time_s, record=True)
        return self._failures.result("the sum of the job", lambda: self._job.end_epoch(own), own)

    @never_raises
    def wait_until_settled(self) -> None:
        """Wait until the figures up to now are final, half a second at most."""
        self._wait_until_settled(self._clock.monotonic(), _LAST_FIGURES_S)

    def snapshot(self) -> RunSnapshot | None:
        """Take a snapshot of the run so far; the last moments are carried on from the latest samples."""
        return self._final or self._snapshot() or self._final

    @never_raises
    def _snapshot(self) -> RunSnapshot:
        time_s = self._catch_up()
        with self._lock:
            return self._final or self._aggregated(self._take(time_s))

    def step_snapshot(self) -> RunSnapshot | None:
        """Take a snapshot with the training since this was last called: for values within an epoch."""
        return (self._step_snapshot() if self.running else None) or self._final

    @never_raises
    def _step_snapshot(self) -> RunSnapshot:
        time_s = self._catch_up()
        with self._lock:
            snapshot = self._snapshots.take_recent(time_s)
        is_due = self._projecting(lambda: time_s >= self._projector.again_s)
        return self._aggregated(self._projected(snapshot, time_s) if is_due else snapshot)

    def finish(self, status: Status = "finished") -> RunSnapshot | None:
        """End the run, write its final figures, release the devices. Called again, return the same snapshot."""
        if os.getpid() == self._pid:
            # A signal may end the process meanwhile: its thread waits here for the end that is being written.
            with self._finishing:
                if self.running:
                    self._finish(status)
        return self._final

    @never_raises
    def _finish(self, status: Status) -> None:
        time_s = self._clock.monotonic()
        self._note_uncounted()
        with self._lock:
            self._ledger.close(time_s)
        self._wait_until_settled(time_s, _LAST_FIGURES_S)
        with self._lock:
            with self._booked():
                self._ledger.book(time_s)
            self._snapshots.status = status
            own = self._take(time_s)
        self._conclude(own)

    def _conclude(self, own: RunSnapshot) -> None:
        """Make a snapshot the result of the run, release the devices, and write it."""
        self._final = self._aggregated(own)
        self._own = own
        self._close()
        with self._recorded():
            self._persistence.queue_epochs(self._ledger.epoch + 1)
        with self._recorded():
            self._persistence.finish(own, self._final.total.total_j)
        session_registry.unregister(self)
        with self._recorded():
            if folder := self._persistence.complete_folder:
                self._sinks.on_recorded(folder)

    def _note_uncounted(self) -> None:
        """Note the accelerators that a custom loop has begun to compute on, and that no meter covers."""
        if not self._tells_later or self._found.uncounted:
            return
        with self._failures.contained("the search for devices that are not counted"):
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
        """Log that the account itself is broken, once, and end the run with what was counted up to now."""
        if not self.running:
            self._failures.failed("the end of the run", "what was counted is kept")
            return
        _log.exception("trainwatt: measuring stops here, training goes on; what was counted is written and shown")
        self._snapshots.status = "failed"
        try:
            self._conclude(self._last_good())
        except Exception:  # noqa: BLE001  # there is nothing below it
            self._failures.failed("the end of the run", "what was written before is kept")

    def _last_good(self) -> RunSnapshot:
        """Return the latest snapshot that can be had: of now, or the last one that was taken, or one without energy."""
        now_s = self._clock.monotonic()
        with self._failures.contained("the end of the account", "it ends with the last reading"):
            self._ledger.close(now_s)
        try:
            return self._snapshots.take(now_s)
        except Exception:  # noqa: BLE001  # it is why the run ends
            return replace(self._latest, status="failed") if self._latest else self._snapshots.bare(now_s)

    def _close(self) -> None:
        self.began_in = None
        for part in (self._snapshots, self._subscription):
            with self._failures.contained("the release of a source"):
                part.close()

    @never_raises
    def _on_tick(self) -> None:
        """Book and write what is final; called in the sampler's thread after each round of readings."""
        with self._lock:
            if not self.running:
                return
            with self._booked():
                self._snapshots.book()
            with self._recorded():
                self._persistence.queue_epochs(self._ledger.settled_epoch)
        with self._recorded():
            self._persistence.write_queue()
        if self._flush_is_due():
            self.flush()

    def _flush_is_due(self) -> bool:
        now_s = self._clock.monotonic()
        return self._failures.result("the record", lambda: self._persistence.flush_is_due(now_s), default=False)

    @never_raises
    def flush(self) -> None:
        """Write what is known now: all that is left if the process is killed."""
        if not (self.running and self._persistence.active):
            return
        now_s = self._clock.monotonic()
        with self._lock:
            own = self._take(now_s)
        with self._recorded():
            self._persistence.flush(own, now_s)
        with self._lock:
            stretches = self._ledger.power.take()
        with self._recorded():
            self._persistence.write_power(stretches)

    @never_raises
    def _project_now(self) -> None:
        """Project for the first time within an epoch: the steps have been made after which this is due."""
        self._projecting(self._projector.step_is_due)
        self.begin("other")
        self._wait_for_figures()
        self.end("other")
        time_s = self._clock.monotonic()
        with self._lock:
            snapshot = self._take(time_s)
        self._projected(snapshot, time_s)

    def _wait_for_figures(self) -> None:
        """Wait for the counters to update: before, the energy of a short first epoch is unknown."""
        time_s = self._clock.monotonic()
        begins = self._projecting(lambda: self._projector.begins)
        if begins and time_s - self._ledger.begin_s < _SHORT_S:
            self._wait_until_settled(time_s, _REFRESH_S)

    def _wake(self) -> None:
        try:
            self._subscription.wake()
        except Exception:  # noqa: BLE001  # a block would cost as much as the call
            self._failures.failed("the reading at a phase's boundary", "the next reading counts")

    def _catch_up(self) -> float:
        """Read what gives the energy up to now, and return the time."""
        try:
            return self._subscription.catch_up()
        except Exception:  # noqa: BLE001  # as above
            self._failures.failed("the reading for a figure", "it is extrapolated")
            return self._clock.monotonic()

    def _wait_until_settled(self, time_s: float, timeout_s: float) -> None:
        with self._failures.contained("the wait for the last figures", "they are extrapolated"):
            self._subscription.wait_until_settled(time_s, timeout_s)

    def _projected(self, snapshot: RunSnapshot, now_s: float, *, record: bool = False) -> RunSnapshot:
        """Add the projection, once that is due; news go to the sinks, and are logged like an epoch's."""
        return self._projecting(lambda: self._with_projection(snapshot, now_s, record=record)) or snapshot

    def _with_projection(self, snapshot: RunSnapshot, now_s: float, *, record: bool) -> RunSnapshot:
        with self._lock:
            state = self._snapshots
            projection = self._projector.project(snapshot.own_phases, state.prior, self._ledger, state.unbooked, now_s)
            if projection is None:
                return snapshot
            snapshot = state.project(snapshot, projection)
            news = self._projector.is_news(projection)
        joined = self._aggregated(snapshot)
        if record or news:
            figures = joined.projection_summary() or {}
            with self._recorded():
                self._persistence.log_event({"event": "projection", **figures})
        if news:
            self._sinks.on_projection(joined, again=news == "again")
        return snapshot

    def _projecting(self, project: Callable[[], T]) -> T | None:
        """Call a part of the projection; if it fails, the run goes on without one."""
        try:
            return project()
        except Exception:  # noqa: BLE001  # what it costs is the projection
            self._failures.failed("the projection", _NO_PROJECTION)
            self._projector = Projector(None)
            self._snapshots.drop_projection()
            return None

    def _take(self, now_s: float, closed: int | None = None) -> RunSnapshot:
        """Take a snapshot of this process; the caller holds the lock."""
        self._latest = snapshot = self._snapshots.take(now_s, closed)
        return snapshot

    def _aggregated(self, own: RunSnapshot) -> RunSnapshot:
        """Aggregate the job; if that fails, this process stands for it."""
        try:
            return self._job.aggregated(own)
        except Exception:  # noqa: BLE001  # figures of other processes may be anything
            self._failures.failed("the sum of the job", "the figures are those of this process alone")
            return own

    def _unmarked(self) -> None:
        self._failures.failed("the mark of a phase", "its energy counts in the phase around it")
        self._check_account()

    def _check_account(self) -> None:
        """Check, after a mark has failed, that the account still adds up: if it does not, the run cannot go on.

        Raises:
            Exception: it does not.
        """
        spans = (*self._ledger.timeline.phases(), *self._ledger.unbooked(self._clock.monotonic()))
        total_j = sum(span.total_j for _, span in spans)
        if not 0 <= total_j < math.inf:
            raise ArithmeticError(f"the account adds up to {total_j} J")

    def _booked(self) -> Contained:
        return self._failures.contained("the booking of energy", "it is booked later")

    def _recorded(self) -> Contained:
        return self._failures.contained("the record", "measuring goes on, and writing is tried again")


def _weakly(method: Callable[[], T]) -> Callable[[], T | None]:
    """Return a function that calls a method as long as its object is alive, and does not keep it alive."""
    reference = weakref.WeakMethod(method)

    def call() -> T | None:
        bound = reference()
        return None if bound is None else bound()

    return call
