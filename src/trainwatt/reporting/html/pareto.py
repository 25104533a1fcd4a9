"""Which of several runs no other one betters both in the metric and in energy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainwatt.errors import ArgumentError
from trainwatt.quantity import Quantity
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.html.run_history import Course, courses


@dataclass(frozen=True, slots=True)
class Standing:
    """A run among others.

    Attributes:
        folder: of the run.
        name: of the run.
        kwh: what it took.
        value: the best that its metric was.
        front: whether no other run has at least as good a metric for less, or a better one for as much.
    """

    folder: Path
    name: str
    kwh: Quantity
    value: float
    front: bool


def chosen_metric(runs: Sequence[RecordedRun], asked: str | None) -> str:
    """By which to compare runs; empty where they have evaluated nothing.

    Args:
        runs: any.
        asked: the user's choice; None: what most runs have, and among that what comes first in them.

    Raises:
        ArgumentError: no run has the one that is asked for.
    """
    counts = Counter(course.name for run in runs for course in courses(run))
    if asked is not None and asked not in counts:
        raise ArgumentError(
            "metric", asked, f"one of {', '.join(counts)}" if counts else "runs that evaluate something"
        )
    return asked or (counts.most_common(1)[0][0] if counts else "")


def standings(runs: Sequence[RecordedRun], metric: str) -> list[Standing]:
    """Runs that have a metric, least energy first.

    Args:
        runs: any.
        metric: its name.
    """
    found = [(run, course) for run in runs for course in courses(run) if course.name == metric]
    found.sort(key=lambda pair: (pair[0].summary["total_kwh"], -_good(pair[1])))
    made, best = [], float("-inf")
    for run, course in found:
        front = _good(course) > best
        best = max(best, _good(course))
        summary = run.summary
        kwh = Quantity(summary["total_kwh_low"], summary["total_kwh"], summary["total_kwh_high"])
        made.append(Standing(run.folder, run.name, kwh, float(course.best[-1]), front))
    return made


def _good(course: Course) -> float:
    best = float(course.best[-1])
    return -best if course.falls else best
