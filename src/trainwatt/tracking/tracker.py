"""Tracker of a custom training loop, or of any block of code; the plugins are built on it too."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from trainwatt.accounting.phase_names import checked_epoch, checked_label, checked_phase
from trainwatt.accounting.timeline import Phase
from trainwatt.clock import SYSTEM_CLOCK
from trainwatt.containment import Failures
from trainwatt.distributed.process_group import ALONE, Exchange, ProcessGroup
from trainwatt.files.background import within
from trainwatt.power.device import Found
from trainwatt.projection.plan import Plan
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.records.summary import Summary
from trainwatt.sampling.sampler import Sampler
from trainwatt.signals.deferral import held
from trainwatt.tracking import session_registry
from trainwatt.tracking.guard import NOTHING, IdleCopies, NullSession, copied, travels
from trainwatt.tracking.outcome import status_of
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink, Sinks
from trainwatt.tracking.snapshots import bare_snapshot
from trainwatt.validation import whole_number

if TYPE_CHECKING:
    from typing_extensions import Self

    from trainwatt.site import Site


# Longest wait for a disk on a look for runs of other processes.
_DISK_S = 0.5


class Tracker(IdleCopies):
    """Tracker of one run after another. Outside a run its methods do nothing.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. In between no method prints or reads a meter,
    and none raises but for a bad argument, at once.

    It may be pickled and copied at any time: a copy has the settings and the last summary, and measures nothing yet. A
    run ends with its tracker: of one that is abandoned the status is ``interrupted``.

    Args:
        settings: the user's, checked.
        sinks: where results go; see :func:`trainwatt.reporting.run_sinks.run_sinks`.

    Attributes:
        guides_stoppers: True if a :class:`trainwatt.GreenStopper` in the same custom loop takes the place of this run.
    """

    guides_stoppers = True

    def __init__(self, settings: Settings, sinks: Iterable[Sink] = ()) -> None:
        self._summary = Summary()
        self._settings = settings
        self._sinks = tuple(sinks)
        self._session: Session | NullSession = NOTHING
        self._training_kwh: float | None = None  # of the last run that trained
        self._state: Mapping[str, Any] = {}  # of a training that the next run resumes
        self._ended: dict[str, Any] = {}  # the last training's state
        self._trains = False
        self._exchange = Exchange()
        self._failures = Failures()
        # By it the runs of copies in other processes are known.
        self._token = uuid.uuid4().hex
        self._made_s = SYSTEM_CLOCK.wall()
        self._looked: int | None = None
        self._is_copied = False

    def _idle(self) -> dict[str, Any]:
        return {"_session": NOTHING, "_exchange": Exchange(), "_failures": Failures(), "_looked": None}

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of a copy in another process."""
        state = super().__getstate__()
        if self._is_copied:  # a sink that refers to its tracker
            return state
        self._is_copied = True
        try:
            sinks = tuple(sink for sink in self._sinks if self._is_taken_along(sink))
            settings = self._settings.portable
            if settings is not self._settings:
                self._failures.warn("live", "the live source cannot be pickled: a copy uses the yearly mean")
            return {**state, "_sinks": sinks, "_settings": settings, "_is_copied": False}
        finally:
            self._is_copied = False

    def _is_taken_along(self, sink: Sink) -> bool:
        if type(sink).__module__.partition(".")[0] == "trainwatt" or travels(sink):
            return True
        self._failures.warn("copy", f"{type(sink).__name__} cannot be pickled: a copy in another process is without it")
        return False

    def __copy__(self) -> Self:
        """Return a tracker of its own with the same sinks, which measures nothing yet."""
        made = type(self).__new__(type(self))
        vars(made).update({**super().__getstate__(), "_token": uuid.uuid4().hex})
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a tracker of its own, which measures nothing yet."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        for name, value in {**super().__getstate__(), "_token": uuid.uuid4().hex}.items():
            setattr(
                made, name, tuple(copied(each, memo) for each in value) if name == "_sinks" else copied(value, memo)
            )
        return made

    @property
    def summary(self) -> Summary:
        """Content of ``summary.json`` of the last run that has ended; empty before.

        If a copy has run in another process, as with ``ddp_spawn``, it is read from the run folder.
        """
        if not self.running:
            self._read_back()
        return self._summary

    def _read_back(self) -> None:
        """Read the summary of a copy's run that has ended, if there is one since the last look."""
        folders, now = self._settings.output_dir, self._last_change_ns()
        if folders is None or now is None or now == self._looked:
            return
        # Few programs have copies.
        from trainwatt.records.attempt_folders import latest_of  # noqa: PLC0415

        search = partial(latest_of, folders, self._token, self._made_s)
        summary = self._failures.result(
            "the search for runs of other processes", lambda: within(10 * _DISK_S, search), None
        )
        self._looked = now
        if summary is None:
            return
        if summary["status"] == "running":
            self._looked = None
        elif str(summary["began"]) > str(self._summary.get("began", "")):
            self._summary = summary
            if "train" in summary["phases"]:
                self._training_kwh = summary["total_kwh"]

    def _last_change_ns(self) -> int | None:
        folders = self._settings.output_dir
        return self._failures.result("the look at the run folders", lambda: _changed_ns(folders), None)

    def start(
        self,
        kind: str = "",
        *,
        trains_on: Iterable[object] | None = None,
        found: Found | None = None,
        processes: ProcessGroup = ALONE,
        sampler: Sampler | None = None,
        call: FrameType | None = None,
    ) -> Self:
        """Start a run; one that is still going on is ended first, and so are others that were abandoned.

        Args:
            kind: kind of run if it is not a training, e.g. ``"test"``: becomes part of its name.
            trains_on: devices that the run computes on: of PyTorch or JAX, or
                :class:`trainwatt.power.accelerators.Accelerator`. Their GPUs are read, and no others; those that no
                meter covers are reported. None: unknown.
            found: meters to read; None: the best sources of this machine.
            processes: process group of the job. All processes must start their run together. Only rank 0 gets
                snapshots, and they are of the whole job.
            sampler: reads the meters; None: the sampler of this process.
            call: frame of the framework's call that the run belongs to: if the call has ended, so has the run. None:
                the run may outlive the function that starts it.
        """
        self.stop("interrupted")
        self._failures = Failures()
        with self._failures.contained("the end of abandoned runs"):
            session_registry.end_abandoned()
        exchange = Exchange(processes)
        within = None if processes.is_rank_zero else exchange.name(None)
        settings = self._settings if processes.is_rank_zero else self._settings.quiet()
        try:
            with held():
                self._session = Session(
                    settings,
                    kind=kind,
                    trains_on=trains_on,
                    found=found,
                    sampler=sampler,
                    training_kwh=self._training_kwh,
                    sinks=self._sinks,
                    processes=processes,
                    within=within,
                    failures=self._failures,
                    token=self._token,
                    began_in=session_registry.Beginning.here(call),
                )
        except Exception:  # noqa: BLE001  # whatever it is, it must not stop a training
            self._failures.failed("the start of measuring", "this run is not measured; training goes on")
            run, began_s = settings.run_name or "unmeasured", SYSTEM_CLOCK.wall()
            self._session = NullSession(bare_snapshot(run, "failed", settings.site, began_s))
        finally:
            if processes.is_rank_zero:  # the others wait for it even where there is none
                exchange.name(self._session.folder.name if self._session.folder else None)
        self._exchange = exchange
        if self.guides_stoppers:
            session_registry.register_custom(self)
        self._trains = not kind
        if not processes.is_rank_zero:
            self._state = {}
        if self._state and self._trains:
            self._session.load_state_dict(self._state)
            self._state = {}
        return self

    def stop(self, status: Status = "finished", *, together: bool = False) -> RunSnapshot | None:
        """End the run: wait for its final figures, then write and print them. Without a run, do nothing.

        Args:
            status: how it ended.
            together: True if all processes of the job end it here, so that they can exchange their final figures.
        """
        with held():
            session, self._session = self._session, NOTHING
            exchange, self._exchange = self._exchange, Exchange()
            snapshot = session.finish(status)
            if snapshot is not None and exchange.is_rank_zero:
                # If the user interrupts what follows, this is the result.
                self._summary = Summary.of(session.summary(), session.folder)
        if together:
            exchange.figures(session, last=True)
            snapshot = session.snapshot()
        exchange.close()
        if snapshot is None or not exchange.is_rank_zero:
            return None
        self._summary = Summary.of(session.summary(), session.folder)
        self._looked = self._last_change_ns()
        if self._trains:
            self._ended = session.state_dict()
        with self._failures.contained("the energy of the training"):
            if "train" in snapshot.phases:
                self._training_kwh = snapshot.energy_kwh.central
        Sinks(self._sinks, failures=self._failures).on_summary(self._summary)
        return snapshot

    def __enter__(self) -> Self:
        if self.running:
            return self
        try:
            return self.start()
        except BaseException as error:
            # Nobody ends a block that has not begun.
            self.stop(status_of(error))
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(status_of(error))

    @property
    def site(self) -> Site:
        """Place of the runs, with its factors, as the user gave it or it was detected."""
        return self._settings.site

    @property
    def running(self) -> bool:
        """True while a run is going on."""
        return self._session is not NOTHING

    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """Enter a phase. Phases nest, and energy is charged to the innermost one.

        Each thread has phases of its own. If several are in phases at once, energy is charged to the innermost phase
        that was entered last. When that one ends, the innermost phase of the thread that entered its own last
        continues.

        Args:
            phase: name of the phase.
            epoch: number of the epoch, from 0, if this begins a new one. It is a label: numbers may skip, repeat or
                start again. Numbers that go back mean for the projection that work is repeated.

        Raises:
            ArgumentError: ``phase`` is not the name of a phase, or ``epoch`` not a whole number.
        """
        self._session.begin(checked_phase(phase), epoch=checked_epoch(epoch))

    def end(self, phase: Phase) -> None:
        """Leave a phase, and any left open inside it; one that this thread has not entered changes nothing.

        Raises:
            ArgumentError: ``phase`` is not the name of a phase.
        """
        self._session.end(checked_phase(phase))

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        """Surround a phase: ``with run.phase("validate"): ...``, or ``@run.phase("validate")`` above a function.

        Raises:
            ArgumentError: ``phase`` is not the name of a phase.
        """
        return self._within_phase(checked_phase(phase))

    def part(self, name: str) -> AbstractContextManager[None]:
        """Name a part of your own: ``with run.part("augmentation"): ...``, or ``@run.part(...)`` above a function.

        Its energy is counted in the phase around it, and in any phase inside it, and is shown as a part of that phase.
        Of nested parts the innermost one counts. A part may be as short as a step, but costs about as much as the entry
        of a phase.

        Args:
            name: any name, of which 64 characters are kept. Of a run's names the first 100 are told apart.

        Raises:
            ArgumentError: ``name`` is not a text, or an empty one.
        """
        return self._within_part(checked_label(name))

    @contextmanager
    def _within_phase(self, phase: Phase) -> Iterator[None]:
        self._session.begin(phase)
        try:
            yield
        finally:
            self._session.end(phase)

    @contextmanager
    def _within_part(self, name: str) -> Iterator[None]:
        label = self._session.begin_part(name)
        try:
            yield
        finally:
            self._session.end_part(label)

    def epochs(self, count: int, first: int = 0) -> Iterator[int]:
        """Iterate over epochs, each a training phase: ``for epoch in run.epochs(10): ...``.

        Several such loops may follow each other, e.g. one for each fold of a cross-validation. The projection is of all
        that was measured and of the rest of the present loop.

        Args:
            count: number of the last epoch, plus one, as in ``range``.
            first: number of the first epoch of a resumed training.

        Raises:
            ArgumentError: an argument is not a whole number.
        """
        return self._each_epoch(range(whole_number("first", first), whole_number("count", count)))

    def _each_epoch(self, numbers: range) -> Iterator[int]:
        self.plan(Plan(epochs=len(numbers), first_epoch=numbers.start), from_now=True)
        for epoch in numbers:
            self.begin("train", epoch=epoch)
            try:
                yield epoch
            finally:
                self.end("train")
            self.end_epoch()

    def step(self, count: int = 1) -> None:
        """Count completed steps."""
        self._session.step(count)

    def metric(self, name: str, value: float) -> None:
        """Record a metric in the run folder, with the energy up to now.

        Args:
            name: name of the metric, e.g. ``"val_acc"``.
            value: its value, a number or a scalar of another library. One that is no finite number is written as null,
                with a warning.
        """
        self._session.score(name, value)

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Log an event of your own to the run folder, with the energy and time up to now.

        It is written as ``{"event": "note", "name": ..., "data": {...}}``, so that its name may be any.

        Args:
            event: its key ``event`` names the kind of event. What is not JSON is written as text or as null, with a
                warning.
        """
        self._session.note(event)

    def log_exit(self, code: int) -> None:
        """Log the exit code of a measured command."""
        self._session.log_event({"event": "exit", "code": code})

    def count(self, samples: int | None) -> None:
        """Count evaluated or predicted samples, for the energy per sample. None: their number is unknown."""
        self._session.count(samples)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for a resumed training to continue.

        It holds numbers, strings, lists and dictionaries only. After a training it is the state of that training;
        before the first one it is empty.
        """
        going_on = self.running and self._trains and self._exchange.is_rank_zero
        return self._session.state_dict() if going_on else self._ended

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume a training that was measured before, now or with the next run.

        Args:
            state: from :meth:`state_dict`, or the content of that training's ``summary.json``.
        """
        if not self.running:
            self._state = dict(state) if isinstance(state, Mapping) else state
        elif self._trains and state and self._exchange.is_rank_zero:
            self._session.load_state_dict(state)

    def batch(self, count: int = 1) -> None:
        """Count batches of an evaluation. Optional: it makes the projection more precise.

        With 0, mark that something other than a step ends here, such as the wait for an epoch's first batch.
        """
        self._session.batch(count)

    def plan(self, plan: Plan, *, from_now: bool = False) -> None:
        """Set the plan of the run, from which it is projected; :meth:`epochs` sets its own.

        Args:
            plan: counts from the beginning of the run, or of its present loop of epochs.
            from_now: True if a loop of epochs begins here, which the plan covers. What was measured before is added.
        """
        self._session.plan(plan, from_now=from_now)

    def end_epoch(self) -> RunSnapshot | None:
        """End an epoch: all that follows belongs to the next. The snapshot holds the run so far and this epoch."""
        self._exchange.figures(self._session)
        snapshot = self._session.end_epoch()
        return snapshot if self._exchange.is_rank_zero else None

    def exchange(self) -> None:
        """Exchange figures with the other processes, so that the next snapshot is of the whole job.

        All of them must call it; :meth:`end_epoch` includes it.
        """
        self._exchange.figures(self._session)

    def share(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values of rank 0 on every rank, so that all decide alike; all of them must call it.

        Args:
            values: those of this rank; only those of rank 0 matter.
        """
        return self._exchange.share(values)

    def wait_until_settled(self) -> None:
        """Wait until the figures up to now are final, half a second at most."""
        self._session.wait_until_settled()

    def snapshot(self) -> RunSnapshot | None:
        """Take a snapshot of the run so far; None on all ranks but 0."""
        return self._session.snapshot() if self._exchange.is_rank_zero else None

    def agree(self, stop: bool) -> bool:
        """Return the decision of rank 0 on every rank, all of which must call it; False unless all take part.

        Args:
            stop: decision of this rank; only that of rank 0 matters.
        """
        return self._exchange.agree(stop)

    def log_stopping(self, event: Mapping[str, Any]) -> None:
        """Log an event of green early stopping, whose fields are ours."""
        self._session.log_event(event)

    def step_snapshot(self) -> RunSnapshot | None:
        """Take a snapshot with the training since this was last called: for values within an epoch."""
        return self._session.step_snapshot() if self._exchange.is_rank_zero else None


# the name of version 0.1, kept for one release
Run = Tracker


def _changed_ns(folder: Path | None) -> int | None:
    """Return when an entry was last added to a folder; None if it cannot be read, or the disk does not answer."""
    try:
        return within(_DISK_S, lambda: folder.stat().st_mtime_ns) if folder else None
    except OSError:
        return None
