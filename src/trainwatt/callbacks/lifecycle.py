"""The lifecycle of a monitor: what the callbacks of all frameworks share."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from trainwatt.accounting.timeline import Phase
from trainwatt.distributed.process_group import ALONE, ProcessGroup
from trainwatt.projection.plan import Plan
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.reporting.progress_bar import bar_texts
from trainwatt.reporting.run_sinks import ExperimentTrackers, run_sinks
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.tracker import Tracker

if TYPE_CHECKING:
    from types import FrameType

    from typing_extensions import Unpack

    from trainwatt.reporting.artifacts import ExperimentTracker
    from trainwatt.tracking.options import MonitorOptions, Options

P = ParamSpec("P")
R = TypeVar("R")


class Lifecycle(Tracker):
    """The tracker of a monitor, with the state that its hooks share.

    Args:
        write_line: prints a line during training, above the progress bar.
        options: see :class:`trainwatt.tracking.options.MonitorOptions`.

    Attributes:
        in_epoch: True between the beginning of an epoch and the end of its steps.
        shows_bar: True if the progress bar is to show energy.
        attaches: True if experiment trackers are to get summary, report and factors.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    # it is given to the stoppers of its own training
    guides_stoppers = False

    def __init__(self, write_line: Callable[[str], object], **options: Unpack[MonitorOptions]) -> None:
        self.shows_bar = options.pop("prog_bar", True)
        self.attaches = options.pop("attachments", True)
        settings = Settings.check(**cast("Options", options))
        self._experiment_trackers = ExperimentTrackers()
        super().__init__(settings, (*run_sinks(settings, write_line), self._experiment_trackers))
        self._planned = self._awaits_batch = False
        self.in_epoch = False
        self._published: dict[str, float] = {}

    def _idle(self) -> dict[str, Any]:
        return {**super()._idle(), "_planned": False, "_awaits_batch": False, "in_epoch": False, "_published": {}}

    def open(
        self,
        kind: str = "",
        *,
        trains_on: Iterable[object] | None = None,
        group: ProcessGroup = ALONE,
        experiment_trackers: Callable[[], list[ExperimentTracker]] = list,
        setup: bool = True,
        call: FrameType | None = None,
    ) -> None:
        """Start a run.

        Args:
            kind: ``"validate"``, ``"test"`` or ``"predict"``; empty: a training.
            trains_on: the framework's devices that this process computes on; None if unknown.
            group: the processes of the job.
            experiment_trackers: finds the experiment trackers at the end of the run.
            setup: begin the phase ``setup``.
            call: frame of the framework's call; see :meth:`Tracker.start`.
        """
        self._published = {}
        self._planned = self._awaits_batch = self.in_epoch = False
        self.start(kind, trains_on=trains_on, processes=group, call=call)
        self._experiment_trackers.find = experiment_trackers if self.attaches else list
        if setup:
            self.begin("setup")

    def close(self, status: Status, *, together: bool = False) -> RunSnapshot | None:
        """End the run; see :meth:`Tracker.stop`."""
        self.in_epoch = False
        snapshot = self.stop(status, together=together)
        # what finds them may hold the framework's trainer
        self._experiment_trackers.find = list
        return snapshot

    @property
    def project_after(self) -> int | str | None:
        """When the whole run is projected for the first time, as the user has set it; None: never."""
        return self._settings.project_after

    def plan_once(self, plan: Callable[[], Plan]) -> None:
        """Set the plan of the run, unless it is known already."""
        if not self._planned and self.running:
            self._planned = True
            with self._failures.contained("the plan of the training", "the run is not projected"):
                self.plan(plan())

    def steady(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return metrics with every name that was published before in this run, so that no history becomes ragged.

        A value that is missing, because what it is made from has failed, is the last known one of a sum, and NaN of
        all else.

        Args:
            metrics: the values of this moment.
        """
        lost = {name: value if _is_sum(name) else math.nan for name, value in self._published.items()}
        self._published = {**lost, **metrics}
        return dict(self._published)

    def begin_epoch(self, epoch: int | None) -> None:
        """Begin a training epoch; the time until its first batch is not part of the steps.

        Args:
            epoch: the framework's number, from 0; None: the one after the last.
        """
        self.begin("train", epoch=epoch)
        self.in_epoch = self._awaits_batch = True

    def begin_batch(self) -> None:
        """Mark the end of the wait for an epoch's first batch."""
        if self._awaits_batch:
            self._awaits_batch = False
            self.batch(0)

    def end_steps(self) -> None:
        """End the training phase of an epoch."""
        self.end("train")
        self.in_epoch = False

    def begin_inference(self, phase: Phase) -> None:
        """Begin an evaluation, test or prediction, and end the setup phase if it is open."""
        self.end("setup")
        self.begin(phase)

    def bar(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Return what the progress bar shows of some metrics, by unit; empty if it shows nothing of ours."""
        return bar_texts(metrics) if self.shows_bar else {}

    def timed(self, save: Callable[P, R]) -> Callable[P, R]:
        """Wrap a function that writes a checkpoint, so that its energy is charged to the phase ``checkpoint``.

        A call from another thread runs alongside the training, which continues to be charged.
        """
        training_thread = threading.get_ident()

        @functools.wraps(save)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            if threading.get_ident() != training_thread:
                return save(*args, **kwargs)
            with self.phase("checkpoint"):
                return save(*args, **kwargs)

        return timed


def _is_sum(name: str) -> bool:
    return name in ("energy/total_kwh", "energy/measured_share") or name.startswith("footprint/")


def monitors_among(callbacks: Iterable[object]) -> list[Lifecycle]:
    """Return the trackers of the monitors among the callbacks of a training."""
    trackers = (getattr(callback, "_run", None) for callback in callbacks)
    return [tracker for tracker in trackers if isinstance(tracker, Lifecycle)]


def first_leaf(data: Any) -> Any:
    """Return the first leaf of nested lists, tuples and dictionaries, such as the first tensor of a batch."""
    while isinstance(data, (list, tuple, dict)) and data:
        data = next(iter(data.values() if isinstance(data, dict) else data))
    return data
