"""Sensitivity of the score to each constant of the rule, and the score on held-out curves.

The shipped functions reduce each evaluation of every curve to the few quantities that the rule decides on. The decision
is then one line over arrays, so that thousands of constants can be tried.

usage: PYTHONPATH=src python benchmarks/stopping/constants.py [sensitivity] [held-out]
"""

# ruff: noqa: SLF001 -- this script examines the private constants of the rule
from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import score
from shipped import Shipped

from trainwatt.stopping import rule, trend

Array = npt.NDArray[Any]
# Thresholds in points per 1 % of the run, and their weights.
THRESHOLDS = {0.1: 0.4, 0.03: 0.2, 0.01: 0.4}
HEAD = "score at 0.1 | too early, % | score at 0.03 | score at 0.01"
NAMES = ("_Z", "_WAIT", "_STALL", "_NOISE", "_TAKEN_OFF", "_LEFT")
RANGES = np.log([(0.3, 3), (0.03, 0.3), (0.3, 6), (30, 1000), (0.003, 1), (0.03, 1)])
# Variants of the curves, and their weights.
COPIES = {"as published": 0.55, "30 evaluations": 0.15, "18 evaluations": 0.15, "truncated": 0.15}


@dataclass
class Curves:
    """Quantities at every evaluation of many curves, concatenated; `first` holds the first index of each curve."""

    first: Array
    last: Array
    cost: Array
    best: Array
    slope: Array
    error: Array
    behind: Array
    scatter: Array
    stalled: Array
    gained: Array
    left: Array
    ready: Array
    loss: dict[float, Array]
    oracle: dict[float, Array]


def copies(name: str, curves: list[Any]) -> list[tuple[Array, Array, float]]:
    """Return cost in % of the run, metric (more is better) and ideal of each curve, for one of the `COPIES`."""
    random, out = np.random.default_rng(0), []
    for curve in curves:
        sign = 1 if curve.mode == "max" else -1
        cost, up, count = curve.cost, sign * curve.values, len(curve.cost)
        keep = np.arange(count)
        if name.endswith("evaluations"):
            keep = np.unique(np.linspace(0, count - 1, min(count, int(name.partition(" ")[0]))).astype(int))
        if name == "truncated":
            keep = np.flatnonzero(cost <= random.uniform(45, 85))
        out.append((100 * cost[keep] / cost[keep[-1]], up[keep], 100.0 if sign == 1 else 0.0))
    return out


def quantities(cost: Array, up: Array, ideal: float) -> dict[str, Array]:
    """Return the quantities that the shipped rule decides on, at every evaluation of one curve."""
    best = np.maximum.accumulate(up)
    out = {name: np.zeros(len(cost)) for name in ("slope", "error", "behind", "scatter", "stalled")}
    for i in range(len(cost)):
        now = slice(0, i + 1)
        scatter = out["scatter"][i] = trend.scatter(up[now])
        since = np.searchsorted(best[now], best[i] - scatter / 2)
        out["stalled"][i] = cost[i] - cost[since]
        recent = max(10, int(np.ceil(rule._RECENT * (i + 1))))
        out["behind"][i] = best[i] - up[max(0, i + 1 - recent) : i + 1].max()
        if i >= rule.MIN_EVALUATIONS - 2:
            fit = trend.fit_trend(up[now], cost[now])
            out["slope"][i], out["error"][i] = fit.slope, fit.error
    return {**out, "cost": cost, "best": best, "gained": best - best[0], "left": np.maximum(ideal - best, 1e-9)}


def gather(parts: list[tuple[Array, Array, float]]) -> Curves:
    """Return the quantities of all curves of one of the `COPIES`."""
    found = [quantities(*part) for part in parts]
    last = np.cumsum([len(part[0]) for part in parts]) - 1
    first = np.r_[0, last[:-1] + 1]
    joined = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    ready = np.concatenate([np.arange(len(part[0])) >= rule.MIN_EVALUATIONS - 1 for part in parts])
    loss, oracle = {}, {}
    for tau in THRESHOLDS:
        utilities = [one["best"] - tau * one["cost"] for one in found]
        loss[tau] = np.concatenate([utility.max() - utility for utility in utilities])
        oracle[tau] = first + [utility.argmax() for utility in utilities]
    return Curves(first=first, last=last, ready=ready, loss=loss, oracle=oracle, **joined)


def stops(c: Curves, constants: Array, tau: float) -> Array:
    """Return the index at which the rule stops each curve under the given constants."""
    z, wait, stall, noise, taken_off, left = constants
    behind = c.behind / np.maximum(100 - c.cost, 1)
    upper = c.slope + z * c.error
    pays = np.maximum(upper, np.r_[np.inf, upper[:-1]]) - behind > tau
    ahead = np.maximum(1 / (1 + c.gained / (taken_off * c.left)), left)
    worth = (c.left * ahead + noise * c.scatter) / (100 * tau)
    stop = c.ready & ~pays & (c.cost + stall * c.stalled >= wait * 100 * np.sqrt(worth))
    at = np.minimum.reduceat(np.where(stop, np.arange(len(stop)), len(stop)), c.first)
    return np.minimum(at, c.last)


def weights(groups: Array, chosen: Array) -> Array:
    """Return the weights of the chosen curves in a macro mean over groups; 0 for the others."""
    names, index = np.unique(groups[chosen], return_inverse=True)
    out = np.zeros(len(groups))
    out[chosen] = 1 / np.bincount(index)[index] / len(names)
    return out


def result(c: Curves, constants: Array, tau: float, weight: Array) -> tuple[float, float]:
    """Return the score, and the share of runs that are stopped too early."""
    at = stops(c, constants, tau)
    loss = c.loss[tau][at]
    early = ((at < c.oracle[tau]) & (loss > 1))[weight > 0].mean()
    return float(1 - weight @ loss / (weight @ c.loss[tau][c.last])), float(early)


def objective(sets: dict[str, Curves], logs: Array, weight: Array, shakes: Array) -> float:
    """Return the mean score over thresholds, copies and small changes, with a penalty for over 4.5 % early stops."""
    total = 0.0
    for name, share in COPIES.items():
        for shake in shakes:
            for tau, importance in THRESHOLDS.items():
                points, early = result(sets[name], np.exp(logs + 0.12 * shake), tau, weight)
                total += share * importance * max(points, -2.0) / len(shakes)
                if tau == max(THRESHOLDS) and name == "as published":
                    total -= 2 * share * max(0.0, early - 0.045) / len(shakes)
    return total


def choose(sets: dict[str, Curves], weight: Array) -> Array:
    """Choose constants by random search over `RANGES`, refined around the best ones; deterministic."""
    random = np.random.default_rng(0)
    shakes = np.vstack([np.zeros(len(NAMES)), random.standard_normal((2, len(NAMES)))])
    tried = [(objective(sets, logs, weight, shakes), logs) for logs in random.uniform(*RANGES.T, (300, len(NAMES)))]
    for width in np.geomspace(0.5, 0.05, 10):
        centres = [logs for _, logs in sorted(tried, key=lambda pair: -pair[0])[:6]]
        for centre in centres * 5:
            logs = np.clip(centre + width * random.standard_normal(len(NAMES)), *RANGES.T)
            tried.append((objective(sets, logs, weight, shakes), logs))
    return np.exp(max(tried, key=lambda pair: pair[0])[1])


def shipped_constants() -> Array:
    """Return the shipped constants."""
    return np.array([getattr(rule, name) for name in NAMES])


def sensitivity(sets: dict[str, Curves], groups: Array) -> None:
    """Print the score at all thresholds with each constant changed by -50 %, -25 %, +25 % and +50 %."""
    weight = weights(groups, np.ones(len(groups), bool))
    print(f"| constant | factor | {HEAD} |\n|---|---|---|---|---|---|")
    for i, name in enumerate(NAMES):
        for factor in (0.5, 0.75, 1.0, 1.25, 1.5):
            constants = shipped_constants()
            constants[i] *= factor
            (high, early), (middle, _), (low, _) = (
                result(sets["as published"], constants, tau, weight) for tau in THRESHOLDS
            )
            print(f"| `{name}` | {factor:g} | {high:.2f} | {100 * early:.1f} | {middle:.2f} | {low:.2f} |")


def held_out(sets: dict[str, Curves], groups: Array, sources: Array) -> None:
    """Print scores on curves that were held out when the constants were chosen."""
    print(f"| left out | {HEAD} | constants |\n|---|---|---|---|---|---|")
    halves = np.array([f"half {i % 2 + 1}" for i in range(len(groups))])
    c, everyone = sets["as published"], weights(groups, np.ones(len(groups), bool))
    for label, folds in (("one task", groups), ("one source", sources), ("one half", halves)):
        at = {tau: c.last.copy() for tau in THRESHOLDS}
        for fold in np.unique(folds):
            constants = choose(sets, weights(groups, folds != fold))
            for tau in THRESHOLDS:
                at[tau][folds == fold] = stops(c, constants, tau)[folds == fold]
            cells = [result(c, constants, tau, weights(groups, folds == fold)) for tau in THRESHOLDS]
            numbers = f"{cells[0][0]:.2f} | {100 * cells[0][1]:.1f} | {cells[1][0]:.2f} | {cells[2][0]:.2f}"
            print(f"| {fold} | {numbers} | {' '.join(f'{v:.2g}' for v in constants)} |", flush=True)
        points = [1 - everyone @ c.loss[tau][at[tau]] / (everyone @ c.loss[tau][c.last]) for tau in THRESHOLDS]
        early = ((at[0.1] < c.oracle[0.1]) & (c.loss[0.1][at[0.1]] > 1)).mean()
        print(f"| **{label} at a time** | {points[0]:.2f} | {100 * early:.1f} | {points[1]:.2f} | {points[2]:.2f} | |")


def main() -> None:
    """Print the tables named on the command line, or both."""
    curves = score.load()
    sets = {name: gather(copies(name, curves)) for name in COPIES}
    c = sets["as published"]
    for tau in THRESHOLDS:
        same = c.first + [score.stop_index(Shipped, curve, tau) for curve in curves]
        assert (stops(c, shipped_constants(), tau) == same).all(), "this script disagrees with the shipped rule"
    groups = np.array([curve.group for curve in curves])
    wanted = sys.argv[1:] or ["sensitivity", "held-out"]
    if "sensitivity" in wanted:
        sensitivity(sets, groups)
    if "held-out" in wanted:
        held_out(sets, groups, np.array([group.split("/")[0] for group in groups]))


if __name__ == "__main__":
    main()
