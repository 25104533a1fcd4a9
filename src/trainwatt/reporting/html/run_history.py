"""History of a run, from its events: power, learning curves and the stop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trainwatt.accounting.timeline import PHASES, Phase
from trainwatt.distributed.rank_record import RankRecord
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.html.display_units import Array
from trainwatt.units import kwh_from_j

_BINS = 300
_LOSSES = ("loss", "error", "perplexity", "ppl", "rmse", "mse", "mae", "wer", "cer", "nll")
_UNNAMED = "monitored metric"

Event = Mapping[str, Any]


class Slice(NamedTuple):
    """Interval of time in one phase, with its mean power."""

    from_s: float
    to_s: float
    watts: float
    phase: Phase


@dataclass(frozen=True)
class LearningCurve:
    """Values of a metric over the run.

    Attributes:
        name: of the metric.
        kwh: cumulative energy at each evaluation.
        values: value at each evaluation.
        falls: True if lower is better.
    """

    name: str
    kwh: Array
    values: Array
    falls: bool

    @property
    def best(self) -> Array:
        """Best value so far, at each evaluation."""
        return np.minimum.accumulate(self.values) if self.falls else np.maximum.accumulate(self.values)


@dataclass(frozen=True)
class Stop:
    """Early stop of a training run.

    Attributes:
        at: e.g. ``epoch 8``.
        kwh: cumulative energy at the stop.
        reason: in a sentence.
    """

    at: str
    kwh: float
    reason: str


def power(run: RecordedRun) -> list[Slice]:
    """Return power over time, in at most 300 intervals that are further split by phase."""
    stretches = [stretch for event in run.log.of_kind("power") for stretch in event["stretches"]]
    if not stretches:
        return []
    phases = [phase for phase in PHASES if any(phase in stretch["seconds"] for stretch in stretches)]
    seconds = np.array([[stretch["seconds"].get(phase, 0.0) for phase in phases] for stretch in stretches])
    ends = np.concatenate([[0.0], seconds.sum(axis=1).cumsum()])
    edges = ends if len(stretches) <= _BINS else np.linspace(0.0, ends[-1], _BINS + 1)
    joules = _binned(np.array([stretch["joules"] for stretch in stretches]), ends, edges) + _other_ranks(run, edges)
    shares = np.column_stack([_binned(seconds[:, number], ends, edges) for number in range(len(phases))])
    return list(_slices(edges, joules, shares, phases))


def _binned(amounts: Array, ends: Array, edges: Array) -> Array:
    """Redistribute amounts, assumed uniform within their intervals, to other intervals."""
    return np.diff(np.interp(edges, ends, np.concatenate([[0.0], amounts.cumsum()])))


def _other_ranks(run: RecordedRun, edges: Array) -> Array:
    """Return the joules of devices that only other ranks of the job have read."""
    records = [RankRecord.from_dict(state) for state in run.summary.get("shards", ())]
    joules = np.zeros(len(edges) - 1)
    seen = {device.id for record in records[:1] for device in record.devices}
    for record in records[1:]:
        new = {device.id for device in record.devices} - seen
        seen |= new
        slices = list(record.slices)
        times = np.array([record.from_s, *(part.to_s for part in slices)]) - records[0].from_s
        drawn = [sum(span.joules.get(name, 0.0) for span in part.phases.values() for name in new) for part in slices]
        joules += _binned(np.array(drawn), times, edges)
    return joules


def _slices(edges: Array, joules: Array, shares: Array, phases: list[Phase]) -> Iterable[Slice]:
    least_s = float(edges[-1]) / 2000
    for from_s, to_s, drawn, parts in zip(edges[:-1], edges[1:], joules, shares, strict=True):
        if to_s <= from_s:
            continue
        watts, at_s = float(drawn / (to_s - from_s)), float(from_s)
        for phase, seconds in zip(phases, parts, strict=True):
            if seconds > least_s or seconds == parts.max():
                yield Slice(at_s, at_s + float(seconds), watts, phase)
                at_s += float(seconds)


def learning_curves(run: RecordedRun) -> list[LearningCurve]:
    """Return the learning curves of a run, the one monitored for early stopping first."""
    found: dict[str, list[tuple[float, float]]] = {}
    for event in run.log.of_kind("score"):
        _note(found, event["name"], event)
    watched = run.log.of_kind("verdict")
    own: dict[str, list[tuple[float, float]]] = {}
    for event in watched:
        _note(own, event.get("name") or _UNNAMED, event)
    found |= {name: points for name, points in own.items() if len(points) >= len(found.get(name, ()))}
    ordered = sorted(found.items(), key=lambda item: (item[0] not in own, falls(item[0], item[1])))
    modes = {event.get("name"): event.get("mode") for event in watched}
    return [_learning_curve(name, points, modes.get(name)) for name, points in ordered if points]


def _note(found: dict[str, list[tuple[float, float]]], name: str, event: Event) -> None:
    value = event.get("value")
    if isinstance(value, (int, float)) and math.isfinite(value):
        found.setdefault(name, []).append((kwh_from_j(event["total_j"]), float(value)))


def _learning_curve(name: str, points: list[tuple[float, float]], mode: str | None) -> LearningCurve:
    kwh, values = np.array(points, dtype=np.float64).T
    return LearningCurve(name, kwh, values, falls(name, points) if mode is None else mode == "min")


def falls(name: str, points: list[tuple[float, float]]) -> bool:
    """Return True if lower is better, by the name of the metric, else by its direction during the run."""
    if any(word in name.lower() for word in _LOSSES):
        return True
    if any(word in name.lower() for word in ("acc", "f1", "auc", "bleu", "rouge", "score", "recall", "precision")):
        return False
    return points[-1][1] < points[0][1]


def stop_of(run: RecordedRun) -> Stop | None:
    """Return the stop by a GreenStopper or by a budget, or None if there was none."""
    for event in run.log.of_kind("verdict", "budget"):
        if event["stop"]:
            return Stop(event["at"], kwh_from_j(event["total_j"]), event["reason"])
    return None
