"""Print the README's tables: all rules at both thresholds, the shipped rule by task, and with a known schedule.

usage: PYTHONPATH=src python benchmarks/stopping/table.py
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from typing import Any

import numpy as np
import score
from shipped import Shipped

THRESHOLDS = (0.1, 0.01)
TOO_EARLY_POINTS = 1.0


def schedules() -> dict[str, Any]:
    """Return the learning rates of each curve over its energy in %, for curves whose rates are all known."""
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with gzip.open(f"{score.HERE}/curves.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["curve_id"]].append((float(row["cost"]), float(row["lr_mult"] or "nan")))
    found = {name: np.array(pairs).T for name, pairs in rows.items()}
    return {name: (100 * cost / cost[-1], rate) for name, (cost, rate) in found.items() if np.isfinite(rate).all()}


def stop_index(factory: Any, curve: Any, tau: float, schedule: Any = None) -> int:
    """Return the evaluation at which a rule stops, or the last one. The rule sees the schedule if one is given."""
    if schedule is None:
        return int(score.stop_index(factory, curve, tau))
    rule = factory(tau, curve.mode, 100.0).rule
    for i, (value, cost) in enumerate(zip(curve.values, curve.cost, strict=True)):
        ahead = np.linspace(cost, 100, 101)
        rates = schedule[1][np.minimum(np.searchsorted(schedule[0], ahead), len(schedule[1]) - 1)]
        if rule.update(float(value), float(cost), planned_kwh=100.0, remaining_lr=list(rates)).stop:
            return i
    return len(curve.values) - 1


def outcome(curve: Any, i: int, tau: float) -> tuple[float, ...]:
    """Return saved %, regret, loss, loss of never stopping, and 1 if it was stopped too early, else 0."""
    utility = curve.best - tau * curve.cost
    loss = utility.max() - utility[i]
    early = i < utility.argmax() and loss > TOO_EARLY_POINTS
    return 100 - curve.cost[i], curve.best[-1] - curve.best[i], loss, utility.max() - utility[-1], float(early)


def row(name: str, factory: Any, curves: list[Any], tau: float, known: dict[str, Any] | None = None) -> str:
    """Return one line of a table: macro means, and the share of all runs that were stopped too early."""
    groups = defaultdict(list)
    for curve in curves:
        schedule = known.get(curve.id) if known else None
        groups[curve.group].append(outcome(curve, stop_index(factory, curve, tau, schedule), tau))
    saved, regret, loss, never, _ = np.mean([np.mean(group, axis=0) for group in groups.values()], axis=0)
    early = np.mean([run[4] for group in groups.values() for run in group])
    cells = f"{saved:.1f} | {regret:.2f} | {loss:.2f} | {1 - loss / never:.2f} | {100 * early:.1f}"
    return f"| {name} | {tau:g} | {cells} |"


def main() -> None:
    """Print all tables."""
    curves = score.load()
    head = "| {} | price | saved % | regret, points | loss | score | too early, % |\n|---|---|---|---|---|---|---|"
    print(head.format("rule"))
    for tau in THRESHOLDS:
        for name, factory in {**score.BASELINES, "**shipped**": Shipped}.items():
            print(row(name, factory, curves, tau))
    print("\n" + head.format("shipped, by task"))
    for tau in THRESHOLDS:
        for group in sorted({curve.group for curve in curves}):
            print(row(group, Shipped, [curve for curve in curves if curve.group == group], tau))
    known = schedules()
    some = [curve for curve in curves if curve.group.startswith("stepdecay")]
    print("\n" + head.format("schedule"))
    for tau in (0.1, 0.03, 0.01):
        for name, chosen in (("all tasks", curves), ("step decay", some)):
            print(row(f"{name}, not told", Shipped, chosen, tau))
            print(row(f"{name}, told where known", Shipped, chosen, tau, known))


if __name__ == "__main__":
    main()
