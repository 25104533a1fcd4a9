"""Scores, energy and a price: go on or stop, and why.

A run is worth going on with for two reasons, and it is stopped when both are gone:

* **Its trend still pays.** The metric's slope on energy is fitted to the latest evaluations, with its standard error.
  While the upper end of the 90 % interval lies above the price, the run goes on; so it does if that was the case
  without the last evaluation, so that a single bad one stops nothing.
* **A late gain may still come.** Take-offs, learning-rate falls and recoveries do not announce themselves in the slope.
  The chance that one is still ahead is taken to fall as 1 / energy, as it does for whatever has lasted so long already,
  so that its rate falls as 1 / energy², and the wait that it is worth grows with the square root of
  ``what may be gained / what the whole run costs``, both in units of the metric.

The decision at an evaluation depends on the history of metric and energy only: multiply the metric and the price, or
energy and plan, by any factor, and it stays the same; a higher price never stops later.

The constants were chosen once, over 393 published validation curves and thinned and truncated copies of them, at three
prices; ``benchmarks/stopping`` holds the curves, the scores, held-out scores and what each constant changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainwatt.errors import ArgumentError

Mode = Literal["min", "max"]
_Array = npt.NDArray[np.float64]

_Z = 1.645  # standard errors to either side: a two-sided 90 % interval
_RECENCY = 16.0  # an evaluation weighs (its energy / now)^16: half of all weight lies in the last 4 % of the energy
_CLIP = 2.5  # robust standard deviations at which a residual stops pulling
_RECENT = 0.35  # share of the evaluations, ten at least, whose best stands for what the run can do now
MIN_EVALUATIONS = 5  # a line through four has hardly an error to speak of, and the trend is wanted twice
_WAIT = 0.15  # share of the plan that is waited for a gain as large as the whole run's price
_STALL = 2.5  # energy since the best was last bettered counts so many times more than energy spent improving
_TAKEN_OFF = 0.02  # share of the distance to the ideal; a run that has gained less may have its take-off ahead
_LEFT = 0.2  # share of the distance to the ideal that a run which has taken off may still gain late
_NOISE = 200.0  # standard deviations of the scatter that may still turn into gain: annealing averages it out
_DIVERGED_IN_A_ROW = 4  # evaluations that fail one time in ten do so four times in a row once in ten thousand
_DIVERGED_SHARE = 0.05  # of the plan: a broken evaluation recovers, a diverged run does not
_HUGE = 1e100  # beyond it a metric is as good as infinite, and its square would overflow


@dataclass(frozen=True, slots=True)
class Price:
    """What a gain must at least be, for the energy it takes; none of the two only observes.

    Args:
        min_gain_per_kwh: metric units per kWh.
        min_gain_per_percent: metric units per 1 % of the planned run's energy.

    Raises:
        ArgumentError: not a positive number, or both given.
    """

    min_gain_per_kwh: float | None = None
    min_gain_per_percent: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_gain_per_kwh", "min_gain_per_percent"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ArgumentError(name, value, "a positive number, or None")
        if self.min_gain_per_kwh is not None and self.min_gain_per_percent is not None:
            raise ArgumentError("min_gain_per_percent", self.min_gain_per_percent, "None beside min_gain_per_kwh")

    @property
    def asked(self) -> bool:
        """Whether there is a price at all."""
        return self.min_gain_per_kwh is not None or self.min_gain_per_percent is not None

    def per_kwh(self, planned_kwh: float) -> float | None:
        """The price in metric units per kWh, for a run of this energy; None if there is no price."""
        if self.min_gain_per_percent is not None:
            return self.min_gain_per_percent * 100 / planned_kwh
        return self.min_gain_per_kwh


@dataclass(frozen=True, slots=True)
class Verdict:
    """Go on or stop, after one evaluation.

    Attributes:
        stop: True: nothing left in the run is expected to be worth its price.
        reason: one sentence, to follow "stopped at epoch 23: ".
        gain_per_kwh: realised: what the best so far gained over the last third of the energy, metric units per kWh.
        expected_gain_per_kwh: expected of the best horizon left; None with too few evaluations.
        expected_low: lower end of its 90 % interval.
        expected_high: upper end of its 90 % interval.
        diverged: the metric has not been finite for long enough to give up.
        cool_down: the learning rate has yet to come down: starting its decay now is greener than stopping.
        saves_kwh: energy of what was planned that stopping now leaves unspent.
    """

    stop: bool
    reason: str
    gain_per_kwh: float | None = None
    expected_gain_per_kwh: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    diverged: bool = False
    cool_down: bool = False
    saves_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class _Trend:
    """Slope of the metric at the last evaluation, and its standard error, per unit of energy."""

    slope: float
    error: float


def _weighted_median(values: _Array, weights: _Array) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])


def _clipped(residuals: _Array, weights: _Array) -> _Array:
    centred = residuals - _weighted_median(residuals, weights)
    limit = _CLIP * 1.4826 * _weighted_median(np.abs(centred), weights)
    return np.clip(centred, -limit, limit)


def _least_error(scores: _Array, energy: _Array, recent: int) -> float:
    """Standard error of a line through the recent evaluations; a fit to hardly more than two would show none."""
    count = min(recent, len(energy))
    span = float(energy[-1] - energy[-count])
    return math.sqrt(12 / count) * _scatter(scores) / span if span > 0 else 0.0


def _trend(score: _Array, energy: _Array) -> _Trend:
    """Slope now, of score on log energy: improvement slows as training goes on, nearly everywhere about as 1 / energy.

    Weighted least squares with clipped residuals, three rounds; the standard error allows for as many independent
    evaluations as the weights amount to and for a first-order autocorrelation.
    """
    ratio = energy / energy[-1]
    weight = ratio**_RECENCY
    total = weight.sum()
    x = np.log(ratio)
    x -= weight @ x / total
    spread = weight @ (x * x)
    if spread <= 0:
        return _Trend(0.0, 0.0)
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
    return _Trend(slope / float(energy[-1]), error / float(energy[-1]))


def _scatter(score: _Array) -> float:
    """Standard deviation of the evaluations about their own course, from second differences of the newer half."""
    newer = score[max(0, len(score) // 2 - 2) :]
    if len(newer) < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(newer, 2))) / math.sqrt(6))


def _potential(best: _Array, scatter: float, ideal: float | None) -> float:
    """What a late gain may bring, in metric units: nearly all before the take-off, a share of it afterwards."""
    gained = float(best[-1] - best[0])
    left = ideal - float(best[-1]) if ideal is not None else -1.0
    if left <= 0:  # no ideal, or one that was passed: what is known of the metric's scale instead
        left = max(gained, abs(float(best[-1])))
    ahead = 1 / (1 + gained / (_TAKEN_OFF * left)) if left > 0 else 0.0
    return left * max(ahead, _LEFT) + _NOISE * scatter


def _waited(best: _Array, energy: _Array, scatter: float) -> float:
    """Energy spent, that since the best was within half a scatter of today's counted `_STALL` times more."""
    since = int(np.searchsorted(best, best[-1] - scatter / 2, side="left"))
    return float(energy[-1] + _STALL * (energy[-1] - energy[since]))


def _realised(best: _Array, energy: _Array) -> float:
    since = min(int(np.searchsorted(energy, energy[-1] * 2 / 3)), len(energy) - 2)
    span = float(energy[-1] - energy[since])
    return float(best[-1] - best[since]) / span if span > 0 else 0.0


def _next_fall(remaining_lr: Sequence[float]) -> float | None:
    """Where the learning rate next falls by half or more at once, as a share of what is left; None if it does not."""
    rates = np.asarray(remaining_lr, dtype=np.float64)
    if len(rates) < 2 or not np.isfinite(rates).all():
        return None
    falls = (rates[1:] <= rates[:-1] / 2) & (rates[:-1] > rates.max() / 50)
    return float(np.argmax(falls) + 1) / (len(rates) - 1) if falls.any() else None


class StoppingRule:
    """The rule: one evaluation at a time, a verdict after each.

    Energy is in kWh by name; any unit will do if price and plan are in the same one.

    Args:
        price: what a gain must be worth.
        mode: "max" if more of the metric is better, "min" if less.
        ideal: the best the metric can be. By default 0 for "min", and for "max" 1, or 100 once a value lies above 1; a
            metric that passes it is judged by the range it has covered.

    Raises:
        ArgumentError: `mode` is neither, or `ideal` is not finite.
    """

    def __init__(self, price: Price, mode: Mode = "max", *, ideal: float | None = None) -> None:
        if mode not in ("min", "max"):
            raise ArgumentError("mode", mode, '"min" or "max"')
        if ideal is not None and not math.isfinite(ideal):
            raise ArgumentError("ideal", ideal, "a finite number, or None")
        self.price, self.mode, self.ideal = price, mode, ideal
        self._sign = 1.0 if mode == "max" else -1.0
        self._scores: list[float] = []
        self._energies: list[float] = []
        self._failures = 0
        self._finite_kwh = 0.0

    def update(
        self,
        value: float | None,
        spent_kwh: float,
        *,
        planned_kwh: float | None = None,
        remaining_lr: Sequence[float] | None = None,
    ) -> Verdict:
        """Take one evaluation and judge.

        Args:
            value: the metric; None, NaN or infinite if the evaluation gave none.
            spent_kwh: energy of the run so far, all of it, cumulative; less than before if that was too high.
            planned_kwh: energy of the whole run as projected now; unknown, the run is taken to be half done.
            remaining_lr: learning rates from now to the end of the plan, evenly spaced, now included, in any unit;
                a hundred values show its falls. Not needed, but it keeps a run going up to a fall that should pay.

        Returns:
            The verdict; it never raises on what a training may log.
        """
        spent_kwh = self._known(spent_kwh)
        planned_kwh = planned_kwh if planned_kwh and math.isfinite(planned_kwh) else 2 * spent_kwh
        if value is None or not abs(value) < _HUGE:
            self._failures += 1
            return self._failed(spent_kwh, planned_kwh)
        self._failures, self._finite_kwh = 0, spent_kwh
        self._scores.append(self._sign * float(value))
        self._energies.append(spent_kwh)
        return self._judge(planned_kwh, remaining_lr)

    def _known(self, spent_kwh: float) -> float:
        """Energy so far; if a meter's first figures turn out to have been too high, all of them were by as much."""
        before_kwh = self._energies[-1] if self._energies else 0.0
        if not 0 < spent_kwh < math.inf:
            return before_kwh
        if spent_kwh < before_kwh:
            self._energies = [energy * (spent_kwh / before_kwh) for energy in self._energies]
            self._finite_kwh *= spent_kwh / before_kwh
        return spent_kwh

    def _failed(self, spent_kwh: float, planned_kwh: float) -> Verdict:
        lost = spent_kwh - self._finite_kwh
        if self._failures < _DIVERGED_IN_A_ROW or lost < _DIVERGED_SHARE * planned_kwh:
            return Verdict(False, f"goes on: no finite value in {self._failures} evaluations in a row")
        reason = f"the metric has not been finite in {self._failures} evaluations in a row: the run has diverged"
        return Verdict(self.price.asked, reason, diverged=True)

    def _judge(self, planned_kwh: float, remaining_lr: Sequence[float] | None) -> Verdict:
        scores, energies = np.array(self._scores), np.array(self._energies)
        trained = energies > 1e-9 * energies[-1]  # an evaluation before training has no energy to set against it
        if np.count_nonzero(trained) < MIN_EVALUATIONS:
            few = f"goes on: {MIN_EVALUATIONS} evaluations are needed to judge; evaluate more often to stop earlier"
            return Verdict(False, few)
        best = np.maximum.accumulate(scores)
        left_kwh = max(planned_kwh - float(energies[-1]), planned_kwh / 100)
        recent = max(10, math.ceil(_RECENT * len(scores)))
        behind = float(best[-1] - scores[-recent:].max()) / left_kwh
        trend = _trend(scores[trained], energies[trained])
        before = _trend(scores[trained][:-1], energies[trained][:-1])
        error = max(trend.error, _least_error(scores, energies, recent))
        low, gain, high = (max(0.0, trend.slope + sign * _Z * error - behind) for sign in (-1, 0, 1))
        price = self.price.per_kwh(planned_kwh)
        pays = price is None or max(high, before.slope + _Z * before.error - behind) > price
        stop = price is not None and not pays and self._waited_enough(price, scores, best, energies, planned_kwh)
        stop = stop and not (price is not None and self._fall_pays(price, best, left_kwh, remaining_lr))
        cool_down = (
            stop and remaining_lr is not None and len(remaining_lr) > 1 and remaining_lr[-1] <= remaining_lr[0] / 2
        )
        reason = self._reason((gain, low, high), price, planned_kwh)
        if cool_down:
            reason += "; starting the learning rate's decay now may be worth more than stopping"
        if not stop:
            reason = f"goes on: {reason}" if pays else f"goes on, a late gain may yet come: {reason}"
        return Verdict(
            stop,
            reason,
            _realised(best, energies),
            gain,
            low,
            high,
            cool_down=cool_down,
            saves_kwh=left_kwh if stop else 0.0,
        )

    def _waited_enough(self, price: float, scores: _Array, best: _Array, energies: _Array, planned_kwh: float) -> bool:
        scatter = _scatter(scores)
        worth = _potential(best, scatter, self._ideal(best)) / (price * planned_kwh)
        return _waited(best, energies, scatter) >= _WAIT * planned_kwh * math.sqrt(worth)

    def _ideal(self, best: _Array) -> float | None:
        if self.ideal is not None:
            return self._sign * self.ideal
        if self.mode == "min":
            return 0.0
        return 1.0 if best[-1] <= 1 else 100.0

    def _fall_pays(self, price: float, best: _Array, left_kwh: float, remaining_lr: Sequence[float] | None) -> bool:
        """Whether a sudden fall of the learning rate that is still to come is worth the energy up to it."""
        fall = _next_fall(remaining_lr) if remaining_lr is not None else None
        ideal = self._ideal(best)
        if fall is None or ideal is None:
            return False
        return _TAKEN_OFF * (ideal - float(best[-1])) > price * fall * left_kwh

    def _reason(self, gains: tuple[float, float, float], price: float | None, planned_kwh: float) -> str:
        percent = self.price.min_gain_per_percent is not None
        unit, scale = ("1 % of the run", planned_kwh / 100) if percent else ("kWh", 1.0)
        gain, low, high = (f"{scale * value:.2g}" for value in gains)
        text = f"the next {unit} is expected to bring {gain} (90 %: {low} to {high})"
        return text if price is None else f"{text}, you asked for {scale * price:.2g}"

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, of numbers and lists only."""
        return {
            "scores": list(self._scores),
            "energies_kwh": list(self._energies),
            "failures": self._failures,
            "finite_kwh": self._finite_kwh,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, under this rule's own price."""
        self._scores = [float(score) for score in state["scores"]]
        self._energies = [float(energy) for energy in state["energies_kwh"]]
        self._failures = int(state["failures"])
        self._finite_kwh = float(state["finite_kwh"])
