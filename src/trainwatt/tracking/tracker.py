"""Tracker of a custom training loop, or of any block of code; the plugins are built on it too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trainwatt.accounting.phase_names import checked_epoch, checked_label, checked_phase
from trainwatt.accounting.timeline import Phase
from trainwatt.distributed.process_group import ALONE, Exchange, ProcessGroup
from trainwatt.power.device import Found
from trainwatt.projection.plan import Plan
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.records.summary import Summary
from trainwatt.sampling.sampler import Sampler
from trainwatt.tracking.guard import NullSession
from trainwatt.tracking.session import Session
from trainwatt.tracking.session_registry import concurrent_run
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink, Sinks
from trainwatt.validation import whole_number

if TYPE_CHECKING:
    from typing_extensions import Self

    from trainwatt.site import Site


_NOTHING = NullSession()


class Tracker:
    """Tracker of one run after another. Outside a run its methods do nothing.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. In between no method prints or reads a meter,
    and none raises but for a bad argument, at once.

    Args:
        settings: the user's, checked.
        sinks: where results go; see :func:`trainwatt.reporting.run_sinks.run_sinks`.

    Attributes:
        summary: content of ``summary.json`` of the last run that has ended; empty before.
    """

    def __init__(self, settings: Settings, sinks: Iterable[Sink] = ()) -> None:
        self.summary = Summary()
        self._settings = settings
        self._sinks = tuple(sinks)
        self._session: Session | NullSession = _NOTHING
        self._training_kwh: float | None = None  # of the last run that trained
        self._state: Mapping[str, Any] = {}  # of a training that the next run resumes
        self._ended: dict[str, Any] = {}  # the last training's state
        self._trains = False
        self._exchange = Exchange()

    def start(
        self,
        kind: str = "",
        *,
        trains_on: Iterable[object] | None = None,
        found: Found | None = None,
        processes: ProcessGroup = ALONE,
        sampler: Sampler | None = None,
    ) -> Self:
        """Start a run; one that is still going on is ended first.

        Args:
            kind: kind of run if it is not a training, e.g. ``"test"``: becomes part of its name.
            trains_on: devices that the run computes on: of PyTorch or JAX, or
                :class:`trainwatt.power.accelerators.Accelerator`. Their GPUs are read, and no others; those that no
                meter covers are reported. None: unknown.
            found: meters to read; None: the best sources of this machine.
            processes: process group of the job. All processes must start their run together. Only rank 0 gets
                snapshots, and they are of the whole job.
            sampler: reads the meters; None: the sampler of this process.

        Raises:
            OSError: the run folder cannot be made.
        """
        self.stop("interrupted")
        exchange = Exchange(processes)
        within = None if processes.is_rank_zero else exchange.name(None)
        settings = self._settings if processes.is_rank_zero else self._settings.quiet()
        try:
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
            )
        finally:
            if processes.is_rank_zero:  # the others wait for it even where there is none
                exchange.name(self._session.folder.name if self._session.folder else None)
        self._exchange = exchange
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
        session, self._session = self._session, _NOTHING
        exchange, self._exchange = self._exchange, Exchange()
        snapshot = session.finish(status)
        if together:
            exchange.figures(session, last=True)
            snapshot = session.snapshot()
        if snapshot is None or not exchange.is_rank_zero:
            return None
        self.summary = Summary.of(session.summary(), session.folder)
        if self._trains:
            self._ended = session.state_dict()
        if "train" in snapshot.phases:
            self._training_kwh = snapshot.energy_kwh.central
        Sinks(self._sinks).on_summary(self.summary)
        return snapshot

    def __enter__(self) -> Self:
        return self if self.running else self.start()

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
        return self._session is not _NOTHING

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
            value: its value.
        """
        self._session.log_event({"event": "score", "name": name, "value": value})

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Log an event of your own to the run folder, with the energy and time up to now.

        Args:
            event: JSON-serialisable; its key ``event`` names the kind of event.
        """
        self._session.log_event(event)

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
            self._state = dict(state)
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

    def wait_until_settled(self) -> None:
        """Wait until the figures up to now are final, half a second at most."""
        self._session.wait_until_settled()

    def snapshot(self) -> RunSnapshot | None:
        """Take a snapshot of the run so far; None on all ranks but 0."""
        return self._session.snapshot() if self._exchange.is_rank_zero else None

    def concurrent_run(self) -> RunSnapshot | None:
        """Return a snapshot of another run of this process; None if there is none."""
        return concurrent_run(self._session)

    def step_snapshot(self) -> RunSnapshot | None:
        """Take a snapshot with the training since this was last called: for values within an epoch."""
        return self._session.step_snapshot() if self._exchange.is_rank_zero else None


# the name of version 0.1, kept for one release
Run = Tracker


def status_of(error: BaseException | None) -> Status:
    """Return the status of a run from the exception that ended it."""
    if error is None:
        return "finished"
    return "interrupted" if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)) else "failed"
