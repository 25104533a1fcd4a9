"""Robust estimate of a metric's slope on energy, and of its noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# An evaluation has the weight (its energy / current energy)^16: the last 4 % of the energy hold half of all weight.
_RECENCY = 16.0
# Residuals are clipped at this many robust standard deviations.
_CLIP = 2.5
# Makes the median absolute deviation a consistent estimate of the standard deviation of normal noise.
_MAD_TO_SD = 1.4826


@dataclass(frozen=True, slots=True)
class Trend:
    """Slope of the metric at the last evaluation.

    Attributes:
        slope: metric units per unit of energy.
        error: standard error of the slope, in the same unit.
    """

    slope: float
    error: float


def fit_trend(score: Array, energy: Array) -> Trend:
    """Fit the current slope of the score on the logarithm of energy.

    Nearly all learning curves flatten about as 1 / energy, which is a straight line on log energy. The fit is weighted
    least squares with clipped residuals, in three rounds. The standard error uses the effective number of evaluations
    under the weights, and corrects for first-order autocorrelation.

    Args:
        score: metric at each evaluation, in order of time; more is better.
        energy: cumulative energy at each evaluation, positive, same length.
    """
    ratio = energy / energy[-1]
    weight = ratio**_RECENCY
    total = weight.sum()
    x = np.log(ratio)
    x -= weight @ x / total
    spread = weight @ (x * x)
    if spread <= 0:
        return Trend(0.0, 0.0)
    slope, residual = 0.0, score - weight @ score / total
    for _ in range(3):
        slope += float(weight @ (x * residual) / spread)
        residual = _clipped(score - slope * x, weight)
    count = total * total / (weight @ weight)
    squares = weight @ (residual * residual)
    variance = squares / total * count / max(count - 2, 1.0)
    lag = weight[1:] @ (residual[1:] * residual[:-1]) / squares if squares > 0 else 0.0
    lag = min(max(float(lag), 0.0), 0.9)
    error = math.sqrt(variance * (weight @ (weight * x * x)) * (1 + lag) / (1 - lag)) / float(spread)
    return Trend(slope / float(energy[-1]), error / float(energy[-1]))


def least_error(scores: Array, energy: Array, recent: int) -> float:
    """Return a lower bound for the standard error of the slope.

    The weights may leave little more than two evaluations, whose fit has nearly no residuals. The bound is the standard
    error of a line through evenly spaced evaluations with the noise of `scatter`.

    Args:
        scores: metric at each evaluation.
        energy: cumulative energy at each evaluation, same length.
        recent: number of latest evaluations that the line goes through.
    """
    count = min(recent, len(energy))
    span = float(energy[-1] - energy[-count])
    return math.sqrt(12 / count) * scatter(scores) / span if span > 0 else 0.0


def scatter(score: Array) -> float:
    """Return the standard deviation of evaluations about their learning curve.

    It is estimated from the second differences of the newer half, which a smooth curve leaves near zero.

    Args:
        score: metric at each evaluation, in order of time.
    """
    newer = score[max(0, len(score) // 2 - 2) :]
    if len(newer) < 3:
        return 0.0
    return float(_MAD_TO_SD * np.median(np.abs(np.diff(newer, 2))) / math.sqrt(6))


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])


def _clipped(residuals: Array, weights: Array) -> Array:
    centred = residuals - _weighted_median(residuals, weights)
    limit = _CLIP * _MAD_TO_SD * _weighted_median(np.abs(centred), weights)
    return np.clip(centred, -limit, limit)
