"""Pareto front of several runs: those that no other run beats in both metric and energy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainwatt.errors import ArgumentError
from trainwatt.quantity import Quantity
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.html.run_history import LearningCurve, learning_curves


@dataclass(frozen=True, slots=True)
class Standing:
    """Run in a comparison.

    Attributes:
        folder: of the run.
        name: of the run.
        kwh: its energy.
        value: best value of the metric.
        front: True if the run is on the Pareto front: no other run reaches at least the same metric with less energy,
            or a better metric with the same energy.
    """

    folder: Path
    name: str
    kwh: Quantity
    value: float
    front: bool


def chosen_metric(runs: Sequence[RecordedRun], asked: str | None) -> str:
    """Choose the metric to compare runs by.

    Args:
        runs: the recorded runs.
        asked: the user's choice; None for the metric that most runs have, and the first of those in a tie.

    Returns:
        The name of the metric; empty if the runs have none.

    Raises:
        ArgumentError: no run has the metric that the user chose.
    """
    counts = Counter(curve.name for run in runs for curve in learning_curves(run))
    if asked is not None and asked not in counts:
        raise ArgumentError(
            "metric",
            asked,
            f"one of {', '.join(counts)}" if counts else "None, because the runs have recorded no metric",
        )
    return asked or (counts.most_common(1)[0][0] if counts else "")


def standings(runs: Sequence[RecordedRun], metric: str) -> list[Standing]:
    """Rank the runs that have a metric, lowest energy first.

    Args:
        runs: the recorded runs.
        metric: name of the metric.
    """
    found = [(run, curve) for run in runs for curve in learning_curves(run) if curve.name == metric]
    found.sort(key=lambda pair: (pair[0].summary["total_kwh"], -_good(pair[1])))
    made, best = [], float("-inf")
    for run, curve in found:
        front = _good(curve) > best
        best = max(best, _good(curve))
        summary = run.summary
        kwh = Quantity(summary["total_kwh_low"], summary["total_kwh"], summary["total_kwh_high"])
        made.append(Standing(run.folder, run.name, kwh, float(curve.best[-1]), front))
    return made


def _good(curve: LearningCurve) -> float:
    best = float(curve.best[-1])
    return -best if curve.falls else best
