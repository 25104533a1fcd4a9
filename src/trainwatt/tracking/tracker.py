"""Measuring a loop of one's own, or any block of code; the frameworks' plugins stand on it too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trainwatt.accounting.timeline import Phase
from trainwatt.distributed.process_group import ALONE, Exchange, ProcessGroup
from trainwatt.power.device import Found
from trainwatt.projection.plan import Plan
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.records.summary import Summary
from trainwatt.tracking.null_session import NullSession
from trainwatt.tracking.session import Session
from trainwatt.tracking.session_registry import concurrent_run
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink, Sinks

if TYPE_CHECKING:
    from typing_extensions import Self


_NOTHING = NullSession()


class Tracker:
    """Measures one run after another; what is not running is silently not measured.

    Use it as a context, or call :meth:`start` and :meth:`stop`. Between these nothing raises, prints or reads a meter.

    Args:
        settings: what the user typed, checked.
        sinks: where results go; see :func:`trainwatt.reporting.run_sinks.run_sinks`.

    Attributes:
        summary: what ``summary.json`` holds, of the last run that has ended; empty before.
    """

    def __init__(self, settings: Settings, sinks: Iterable[Sink] = ()) -> None:
        self.summary = Summary()
        self._settings = settings
        self._sinks = tuple(sinks)
        self._session: Session | NullSession = _NOTHING
        self._training_kwh: float | None = None  # of the last run that trained
        self._state: Mapping[str, Any] = {}  # of a training that the next one takes up
        self._ended: dict[str, Any] = {}  # the last training's state
        self._trains = False
        self._exchange = Exchange()

    def start(
        self,
        kind: str = "",
        *,
        gpu_uuids: Sequence[str] | None = None,
        found: Found | None = None,
        processes: ProcessGroup = ALONE,
    ) -> Self:
        """Begin a run; one that is still going on is ended first.

        Args:
            kind: what kind of run it is where that is not a training, e.g. ``"test"``: becomes part of its name.
            gpu_uuids: the GPUs that it uses, where that is known; None: all that this process can see.
            found: what to read; None: the best sources of this machine.
            processes: those of the job, where there are several: all must begin their run together. Only the first of
                them gets reports, which are of the job.

        Raises:
            OSError: the run folder cannot be made.
        """
        self.stop("interrupted")
        exchange = Exchange(processes)
        within = None if processes.first else exchange.name(None)
        settings = self._settings if processes.first else self._settings.quiet()
        try:
            self._session = Session(
                settings,
                kind=kind,
                gpu_uuids=gpu_uuids,
                found=found,
                training_kwh=self._training_kwh,
                sinks=self._sinks,
                processes=processes,
                within=within,
            )
        finally:
            if processes.first:  # the others wait for it even where there is none
                exchange.name(self._session.folder.name if self._session.folder else None)
        self._exchange = exchange
        self._trains = not kind
        if not processes.first:
            self._state = {}
        if self._state and self._trains:
            self._session.load_state_dict(self._state)
            self._state = {}
        return self

    def stop(self, status: Status = "finished", *, together: bool = False) -> RunSnapshot | None:
        """End the run, settle its last figures, write and print them; without a run, nothing.

        Args:
            status: how it ended.
            together: whether all processes of the job end it here, and so can tell each other their last figures.
        """
        session, self._session = self._session, _NOTHING
        exchange, self._exchange = self._exchange, Exchange()
        snapshot = session.finish(status)
        if together:
            exchange.figures(session, last=True)
            snapshot = session.snapshot()
        if snapshot is None or not exchange.first:
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
    def running(self) -> bool:
        """Whether a run is going on."""
        return self._session is not _NOTHING

    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """A phase begins; phases nest, and the innermost one is charged.

        Args:
            phase: which.
            epoch: the epoch, counted from 0, where this begins a new one.
        """
        self._session.begin(phase, epoch=epoch)

    def end(self, phase: Phase) -> None:
        """A phase ends, with any left open inside it; one that was not begun changes nothing."""
        self._session.end(phase)

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """A phase as a block: ``with run.phase("validate"): ...``."""
        self.begin(phase)
        try:
            yield
        finally:
            self.end(phase)

    def epochs(self, count: int, first: int = 0) -> Iterator[int]:
        """Epochs to loop over, each a training phase: ``for epoch in run.epochs(10): ...``.

        Args:
            count: the number of the last epoch, plus one, as in ``range``.
            first: the number of the first one, in a training that goes on.
        """
        self.plan(Plan(epochs=max(0, count - first), first_epoch=first))
        for epoch in range(first, count):
            self.begin("train", epoch=epoch)
            try:
                yield epoch
            finally:
                self.end("train")
            self.end_epoch()

    def step(self, count: int = 1) -> None:
        """A step has been made, or several."""
        self._session.step(count)

    def metric(self, name: str, value: float) -> None:
        """An evaluation has found this: kept in the run folder with the energy taken until then.

        Args:
            name: the metric, e.g. ``"val_acc"``.
            value: what it is.
        """
        self._session.log_event({"event": "score", "name": name, "value": value})

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Put something of your own into the run folder's events, with what the run has taken by then.

        Args:
            event: JSON-able, with an ``event`` that says what it is.
        """
        self._session.log_event(event)

    def count(self, samples: int | None) -> None:
        """So many samples have been evaluated or predicted: for the energy of one. None: that is not known."""
        self._session.count(samples)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of a training must hold, so that a later one goes on counting where this one stood.

        Plain numbers, text, lists and dictionaries: any format takes it. After a training it is that training's; empty
        before the first.
        """
        going_on = self.running and self._trains and self._exchange.first
        return self._session.state_dict() if going_on else self._ended

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a training up that was measured before, now or with the next run that begins.

        Args:
            state: from :meth:`state_dict`, or what ``summary.json`` of that training holds.
        """
        if not self.running:
            self._state = dict(state)
        elif self._trains and state and self._exchange.first:
            self._session.load_state_dict(state)

    def batch(self, count: int = 1) -> None:
        """A batch of an evaluation has been made, or several: for the projection only, and never needed.

        With 0 something other than a step ends here, such as the wait for an epoch's first batch.
        """
        self._session.batch(count)

    def plan(self, plan: Plan) -> None:
        """What is to come, so that the whole run can be projected; :meth:`epochs` tells its own."""
        self._session.plan(plan)

    def end_epoch(self) -> RunSnapshot | None:
        """An epoch ends; all that follows belongs to the next. The report of the run so far and of this epoch."""
        self._exchange.figures(self._session)
        snapshot = self._session.end_epoch()
        return snapshot if self._exchange.first else None

    def exchange(self) -> None:
        """All processes of the job tell each other their figures: where the next report has to be of them all.

        All must call it; :meth:`end_epoch` does so by itself.
        """
        self._exchange.figures(self._session)

    def wait_until_settled(self) -> None:
        """Wait for the figures up to now, half a second at most: where the next report has to be exact."""
        self._session.wait_until_settled()

    def snapshot(self) -> RunSnapshot | None:
        """The run so far; None in all processes of a job but the first."""
        return self._session.snapshot() if self._exchange.first else None

    def concurrent_run(self) -> RunSnapshot | None:
        """The report of another run that is going on in this process, where there is one."""
        return concurrent_run(self._session)

    def step_snapshot(self) -> RunSnapshot | None:
        """The run so far, with the training since this was last called: for values within an epoch."""
        return self._session.step_snapshot() if self._exchange.first else None


# the name of version 0.1, kept for one release
Run = Tracker


def status_of(error: BaseException | None) -> Status:
    """How a run ended, by what ended it."""
    if error is None:
        return "finished"
    return "interrupted" if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)) else "failed"
