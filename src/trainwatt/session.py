"""Events in, reports out: the one object that a plugin drives."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainwatt import sessions
from trainwatt.attempt import Earlier, earlier_of, state_of
from trainwatt.clock import Since
from trainwatt.harmless import harmless
from trainwatt.hourly import Hourly
from trainwatt.ledger import Ledger
from trainwatt.plan import Plan
from trainwatt.power.device import Found
from trainwatt.power.discover import discover
from trainwatt.processes import ALONE, Processes, leads_host, own_share
from trainwatt.projector import Projector
from trainwatt.record import find_summary, start_time_name
from trainwatt.recording import Recording
from trainwatt.report import Report, Status
from trainwatt.sampler import Sampler, shared_sampler
from trainwatt.settings import Settings
from trainwatt.site import Site
from trainwatt.text import projection_text
from trainwatt.timeline import Phase, Span, SpanKey, merged, total_of
from trainwatt.together import Together

_log = logging.getLogger("trainwatt")

_FLUSH_S = 1.0  # a killed process loses at most this much of its record,
_FLUSH_AGAIN_S = 0.7  # so that it is written again that soon: the sampler looks in each 0.25 s
_LAST_FIGURES_S = 0.5  # how long the end of a run waits for the counters' last refresh
_BEFORE = -1  # the epoch of all that earlier attempts took
_SHORT_S = 10.0  # a first epoch of which the last refresh of a counter is a part that counts
_REFRESH_S = 0.2  # how long the first projection waits for it, once


class Session:
    """One measured run.

    All methods but the constructor are safe to call from a training loop: they never raise, and none reads a meter.

    Args:
        settings: what the user typed, checked.
        kind: what kind of run it is where that is not a training, e.g. ``"test"``: becomes part of the run's name.
        gpu_uuids: the GPUs that the framework uses, where it knows them; None: all that this process can see.
        found: what to read; None: the best sources of this machine.
        sampler: whose samples to use; None: those of the process's own sampler.
        training_kwh: energy of the training that this run uses the model of, where that is known.
        say: where the line goes that tells what the whole run will take.
        processes: those of the job, where there are several.
        within: the run folder of the first process, in which this one has its own; None: none that is known.

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
        say: Callable[[str], object] = print,
        processes: Processes = ALONE,
        within: str | None = None,
    ) -> None:
        self._settings = settings
        self._say = say
        self._pid = os.getpid()
        self._lock = threading.RLock()
        sampler = sampler or shared_sampler()
        self._clock = sampler.clock
        self._flushed_s = -math.inf
        run = "-".join(filter(None, (settings.run_name or start_time_name(self._clock.wall()), kind)))
        self._record = Recording(settings, run, processes, within)
        self._run = self._record.run
        found = found or discover(
            settings.devices,
            scope=settings.scope,
            gpu_uuids=gpu_uuids,
            idle_w=settings.idle_w,
            full_w=settings.full_w,
            clock=self._clock,
        )
        found = own_share(found, leads=processes.first or leads_host())
        self._missing = found.missing
        for missing in found.missing:
            if missing.warn:
                _log.warning("trainwatt: %s cannot be read: %s %s", missing.source, missing.why, missing.remedy)
        self._status: Status = "running"
        self._epochs = 0
        self._own: Report | None = None  # of this process, once it has ended
        self._final: Report | None = None  # of the job, likewise
        self._last_train = Span()
        self._hourly = Hourly(settings.site)
        self._samples: int | None = 0
        self._training_kwh = training_kwh
        self._earlier = Earlier()
        self._projector = Projector(settings.project_after)
        self._projected_site: Site | None = None
        self._unbooked: list[tuple[SpanKey, Span]] = []  # as of the latest report
        self._lease = sampler.lease(found.meters, interval_s=settings.interval_s)
        self._since = since = Since(self._clock)  # once all is read: what was drawn before nobody can tell
        self._together = Together(processes, since.wall_s)
        self._ledger = Ledger(self._lease, since.monotonic_s)
        self._record.event({"event": "start", "run": self._run, "began_unix_s": since.wall_s, "pid": self._pid})
        self._lease.on_tick = self._on_tick
        sessions.enter(self)

    @property
    def folder(self) -> Path | None:
        """The run folder, where there is one."""
        return self._record.path

    @property
    def running(self) -> bool:
        """Whether it still measures."""
        return self._status == "running"

    @harmless
    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """A phase begins; phases nest, and the innermost one is charged.

        Args:
            phase: which.
            epoch: the framework's epoch, counted from 0, where this begins a new one.
        """
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.begin(phase, time_s, epoch)
        self._lease.wake()

    @harmless
    def end(self, phase: Phase) -> None:
        """A phase ends, with any left open inside it."""
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.end(phase, time_s)
        self._lease.wake()

    def step(self, count: int = 1) -> None:
        """The framework has made a step, or several."""
        ledger = self._ledger
        ledger.step(count, self._clock.monotonic())
        if ledger.steps >= self._projector.due_step:
            self._project_now()

    def beat(self, count: int = 1) -> None:
        """An evaluation has made a batch, or several; with 0, something other than a step ends here."""
        self._ledger.beat(count, self._clock.monotonic())

    @harmless
    def plan(self, plan: Plan) -> None:
        """What is to come, from the beginning of the run; it may be told again when more is known."""
        with self._lock:
            self._projector.plan(plan)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold, so that the training can go on counting; empty where that is not known."""
        report = self.report()
        return state_of(report.summary(), str(self.folder.resolve()) if self.folder else None) if report else {}

    @harmless
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken: what the earlier attempts took counts, lost work included."""
        if not state or self._earlier.attempts:
            return
        try:
            earlier = earlier_of(state, find_summary(state.get("folder")))
        except (AttributeError, KeyError, TypeError, ValueError):
            _log.warning("trainwatt: the checkpoint's own figures cannot be understood; counting begins anew")
            return
        spans = [(SpanKey(_BEFORE, phase), span) for phase, span in earlier.phases.items()]
        with self._lock:
            self._earlier = earlier
            for key, span in spans:
                self._ledger.timeline.add(key, span)
            self._hourly.before(earlier.total_j)
        self._record.resumed(earlier, spans)

    def count(self, samples: int | None) -> None:
        """So many samples have been evaluated or predicted; None: that is not known, and so their sum is not."""
        self._samples = None if samples is None or self._samples is None else self._samples + samples

    @harmless
    def tell(self) -> dict[str, Any]:
        """What the other processes of the job should know."""
        with self._lock:
            return self._together.shard(self._own or self._report(self._clock.monotonic())).to_dict()

    @harmless
    def hear(self, states: Iterable[object]) -> None:
        """What other processes have told: all reports from now on are of the job, as far as it is known."""
        with self._lock:
            self._together.hear(states)
            if self._own is not None:
                self._final = self._together.joined(self._own)
                self._write(self._own, durable=True)

    @harmless
    def look(self, *, last: bool = False) -> None:
        """See what the other processes have written, where no collective tells.

        Args:
            last: whether all are about to write their last figures: these are waited for a little.
        """
        if self._settings.output_dir:
            self.hear(self._together.look(self._settings.output_dir, last=last))

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds, of a run that has ended; empty before."""
        return self._summary(self._own) if self._own else {}

    def _summary(self, own: Report) -> dict[str, Any]:
        return self._together.joined(own).summary() | self._together.record(own)

    @harmless
    def note(self, event: Mapping[str, Any]) -> None:
        """Put something into the run folder, with what the run has taken by then."""
        if self.folder is None:
            return
        time_s = self._clock.monotonic()
        with self._lock:
            report, epoch = self._together.joined(self._report(time_s)), self._ledger.epoch
        taken = {"epoch": epoch, "seconds": report.total.seconds, "total_j": report.total.total_j}
        self._record.note({**event, **taken})

    @harmless
    def end_epoch(self) -> Report:
        """An epoch ends, all that follows belongs to the next: the report of the run so far and of this epoch."""
        self._wait_for_figures()
        time_s = self._clock.monotonic()
        with self._lock:
            epoch = self._ledger.end_epoch(time_s)
            self._epochs += 1
            report = self._report(time_s, epoch)
            self._projector.end_epoch(epoch, report)
        self._lease.wake()
        return self._together.end_epoch(self._projected(report, time_s, record=True))

    @harmless
    def settle(self) -> None:
        """Wait for the figures up to now, half a second at most."""
        self._lease.settle(self._clock.monotonic(), _LAST_FIGURES_S)

    @harmless
    def report(self) -> Report:
        """The run so far; the last moments are carried on from the latest samples."""
        with self._lock:
            return self._final or self._together.joined(self._report(self._clock.monotonic()))

    @harmless
    def step_report(self) -> Report:
        """The run so far, with the training since this was last called: for values within an epoch."""
        time_s = self._clock.monotonic()
        with self._lock:
            report = self._report(time_s)
        train = report.phases.get("train", Span())
        recent, self._last_train = train.since(self._last_train), train
        report = replace(report, recent=recent)
        report = self._projected(report, time_s) if time_s >= self._projector.again_s else report
        return self._together.joined(report)

    def finish(self, status: Status = "finished") -> Report | None:
        """The run has ended: settle the last figures, write them, give the devices back. Again: the same report."""
        if self.running and os.getpid() == self._pid:
            self._finish(status)
            if self._final:
                self._record.leave_report()
        return self._final

    @harmless
    def _finish(self, status: Status) -> None:
        time_s = self._clock.monotonic()
        with self._lock:
            self._ledger.close(time_s)
        self._lease.settle(time_s, _LAST_FIGURES_S)
        with self._lock:
            self._ledger.book(time_s)
            self._status = status
            self._own = self._report(time_s)
            self._final = report = self._together.joined(self._own)
            self._record.epochs(self._ledger.timeline, self._ledger.epoch + 1)
            power = self._ledger.power.take(last=True)
        self._close()
        self._record.power(power)
        self._record.event({"event": "end", "status": status, "total_j": report.total.total_j})
        self._write(self._own, durable=True)

    def _write(self, own: Report, *, durable: bool = False) -> None:
        if self.folder:
            self._record.summary(self._summary(own), durable=durable)

    def give_up(self) -> None:
        """Something of ours has failed: say so once, keep what was written, and stay out of the way."""
        _log.exception("trainwatt: measuring stops here, training goes on; what was counted is kept")
        self._status = "failed"
        self._close()

    def _close(self) -> None:
        sessions.leave(self)
        self._hourly.close()
        self._lease.close()

    @harmless
    def _on_tick(self) -> None:
        """Called in the sampler's thread after each round of readings."""
        with self._lock:
            if not self.running:
                return
            self._ledger.book(self._lease.settled_s())
            self._lease.floor_s = self._ledger.booked_s
            self._hourly.book(self._since.wall_at(self._ledger.booked_s), self._ledger.booked_j)
            self._record.epochs(self._ledger.timeline, self._ledger.settled_epoch)
        self._record.event()
        if self._clock.monotonic() - self._flushed_s >= _FLUSH_AGAIN_S:
            self.flush()

    @harmless
    def flush(self) -> None:
        """Write what is known now: all that is left if the process is killed."""
        if not self.running or not (self.folder or self._together.several):
            return
        self._flushed_s = self._clock.monotonic()
        report = self._report(self._flushed_s)
        self._together.tick(report)
        if self.folder:
            self._write(report)
            with self._lock:
                power = self._ledger.power.take()
            self._record.power(power)

    def _report(self, now_s: float, closed: int | None = None) -> Report:
        with self._lock:
            now_s = min(now_s, self._ledger.end_s)  # while the last figures are waited for, time goes on
            since, now_wall_s = self._since, self._since.wall_at(now_s)
            rest = self._unbooked = list(self._ledger.unbooked(now_s))
            timeline = self._ledger.timeline
            phases = merged([*timeline.phases(), *rest])
            return Report(
                run=self._run,
                status=self._status,
                began_s=since.wall_s,
                now_s=now_wall_s,
                phases=phases,
                epoch={}
                if closed is None
                else merged([*timeline.epoch(closed), *(r for r in rest if r[0].epoch == closed)]),
                epochs=self._epochs,
                devices=self._lease.devices,
                site=self._hourly.site(now_wall_s, total_of(phases).total_j),
                missing=self._missing,
                gaps_s=self._lease.gaps_s,
                notes=self._lease.notes,
                suspended_s=since.suspended_s,
                sampler_cpu_s=self._lease.sampler_cpu_s,
                samples=self._samples or None,
                training_kwh=self._training_kwh,
                expected_requests=self._settings.expected_requests,
                earlier=self._earlier,
                projection=self._projector.latest,
                projected_site=self._projected_site,
            )

    @harmless
    def _project_now(self) -> None:
        """The steps after which to project have been made."""
        self._projector.step_is_due()
        self.begin("other")
        self._wait_for_figures()
        self.end("other")
        time_s = self._clock.monotonic()
        self._projected(self._report(time_s), time_s)

    def _wait_for_figures(self) -> None:
        """What a short beginning drew is known only when the counters were renewed."""
        time_s = self._clock.monotonic()
        if self._projector.begins and time_s - self._ledger.begin_s < _SHORT_S:
            self._lease.settle(time_s, _REFRESH_S)

    def _projected(self, report: Report, now_s: float, *, record: bool = False) -> Report:
        """A report with what the whole run will take, once that is due; news are said, and written like an epoch's."""
        with self._lock:
            projection = self._projector.project(report, self._ledger, self._unbooked, now_s)
            if projection is None:
                return report
            rest = 1 - report.energy_kwh.central / (projection.energy_kwh.central or 1.0)
            self._projected_site = self._hourly.projected(report.site, rest, report.now_s, projection.remaining_s)
            report = replace(report, projection=projection, projected_site=self._projected_site)
            new = self._projector.is_news(projection)
        if self.folder and (record or new):
            self._record.note({"event": "projection", **(self._together.joined(report).projection_summary() or {})})
        if new and self._settings.verbose and projection.remaining_s > 0:
            self._say(projection_text(self._together.joined(report), again=new == "again"))
        return report
