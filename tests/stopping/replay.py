"""Learning curves of real training runs, to replay through a framework's loop, and the verdict of the rule alone."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwatt.projection.projection import project_from_checkpoints
from trainwatt.stopping.rule import StoppingRule
from trainwatt.stopping.threshold import Mode, Threshold

CURVES = Path(__file__).parents[2] / "benchmarks" / "stopping" / "curves.csv.gz"
# threshold in points per 1 % of the run
PERCENT = 0.1
# neighbouring curves are similar, so one in twenty is enough
EVERY = 20
LONGEST = 60


@dataclass(frozen=True)
class Curve:
    """Values of a metric in points, evaluation by evaluation."""

    name: str
    mode: Mode
    values: tuple[float, ...]

    @property
    def ideal(self) -> float:
        return 100.0 if self.mode == "max" else 0.0


def curves() -> Iterator[Curve]:
    """Yield every twentieth of the published curves, cut to its first evaluations."""
    rows: dict[str, list[dict[str, str]]] = {}
    with gzip.open(CURVES, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["curve_id"], []).append(row)
    for name in sorted(rows)[::EVERY]:
        first = rows[name][0]
        values = [float(first["points"]) * float(row["value"] or "nan") for row in rows[name][:LONGEST]]
        yield Curve(name, "max" if first["mode"] == "max" else "min", tuple(filter(math.isfinite, values)))


def stop_of_the_rule(curve: Curve, state: Mapping[str, Any]) -> int | None:
    """Return the number of evaluations after which the rule alone stops, with the energies that a callback measured."""
    rule = StoppingRule(Threshold(min_gain_per_percent=PERCENT), curve.mode, ideal=curve.ideal)
    energies_kwh = state["rule"]["energies_kwh"]
    checkpoints = [((number + 1) / len(curve.values), kwh) for number, kwh in enumerate(energies_kwh)]
    for number, (value, spent_kwh) in enumerate(zip(curve.values, energies_kwh, strict=False), 1):
        planned = project_from_checkpoints(checkpoints[:number])
        if rule.update(value, spent_kwh, planned_kwh=planned.central if planned else None).stop:
            return number
    return None
