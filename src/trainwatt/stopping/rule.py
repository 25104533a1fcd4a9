"""Decide from scores, energy and a threshold whether a run should stop, and why.

A run continues for either of two reasons. It stops once both are gone:

* **Its trend still meets the threshold.** The metric's slope on energy is fitted to the latest evaluations, with its
  standard error. The run continues while the upper end of the 90 % interval exceeds the threshold. It also continues if
  the same held without the last evaluation, so that a single bad evaluation never stops a run.
* **A late gain may still come.** Take-offs, drops of the learning rate and recoveries do not show in the slope
  beforehand. The chance that one is still ahead is modelled as proportional to 1 / energy, the longer the run has
  lasted the less. Its rate then falls as 1 / energy². The worthwhile wait therefore grows with the square root of
  ``possible gain / cost of the whole run``, both in units of the metric.

The decision depends on the history of metric and energy only. It does not change if metric and threshold, or energy and
plan, are multiplied by a factor. A higher threshold never stops later.

The constants were chosen once, on 393 published validation curves and thinned and truncated copies of them, at three
thresholds. ``benchmarks/stopping`` contains the curves, the scores, held-out scores and the effect of each constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from trainwatt.errors import ArgumentError
from trainwatt.stopping.threshold import Mode, Threshold
from trainwatt.stopping.trend import Array, fit_trend, least_error, scatter

# Standard errors on either side of a two-sided 90 % interval.
_Z = 1.645
# Share of the evaluations (at least ten) whose best value represents what the run achieves now.
_RECENT = 0.35
# A line through four points has almost no residuals, and the trend is fitted a second time without the last point.
MIN_EVALUATIONS = 5
# Share of the plan to wait for a gain that is as large as the cost of the whole run.
_WAIT = 0.15
# Energy spent since the last improvement counts this many times more than energy spent improving.
_STALL = 2.5
# Share of the distance to the ideal. A run that has gained less may still be before its take-off.
_TAKEN_OFF = 0.02
# Share of the distance to the ideal that a run may still gain late, after its take-off.
_LEFT = 0.2
# Standard deviations of the scatter that may still become gain, because learning-rate annealing averages noise out.
_NOISE = 200.0
# If one evaluation in ten fails, four fail in a row once in ten thousand.
_DIVERGED_IN_A_ROW = 4
# Share of the plan. A broken evaluation recovers, a diverged run does not.
_DIVERGED_SHARE = 0.05
# Larger values are treated as infinite, because their squares would overflow.
_HUGE = 1e100


@dataclass(frozen=True, slots=True)
class Verdict:
    """Recommendation after one evaluation: continue or stop.

    Attributes:
        stop: True if no remaining part of the run is expected to meet the threshold.
        reason: one sentence, to follow "stopped at epoch 23: ".
        gain_per_kwh: realised gain of the best value over the last third of the energy, in metric units per kWh.
        expected_gain_per_kwh: expected gain of the next energy; None with too few evaluations.
        expected_low: lower end of its 90 % interval.
        expected_high: upper end of its 90 % interval.
        diverged: True if the metric has not been finite for long enough to give up.
        cool_down: True if the learning rate has yet to decay. Starting its decay now is greener than stopping.
        saves_kwh: planned energy that stopping now leaves unspent.
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


class _Record(NamedTuple):
    """Evaluations of a run, and the energy that is planned for it."""

    scores: Array
    energies: Array
    best: Array
    planned_kwh: float

    @property
    def left_kwh(self) -> float:
        """Energy of the remaining plan, at least 1 % of it."""
        return max(self.planned_kwh - float(self.energies[-1]), self.planned_kwh / 100)


class _ExpectedGain(NamedTuple):
    """Gain per kWh of the next energy, with its 90 % interval."""

    low: float
    central: float
    high: float
    # the upper end without the last evaluation
    high_before: float


def _expected_gain(record: _Record, trained: Array) -> _ExpectedGain:
    """Extrapolate the trend, less what the run must first regain to reach its best value.

    Args:
        record: the evaluations.
        trained: mask of the evaluations that the trend is fitted to.
    """
    scores, energies = record.scores, record.energies
    recent = max(10, math.ceil(_RECENT * len(scores)))
    behind = float(record.best[-1] - scores[-recent:].max()) / record.left_kwh
    trend = fit_trend(scores[trained], energies[trained])
    before = fit_trend(scores[trained][:-1], energies[trained][:-1])
    error = max(trend.error, least_error(scores, energies, recent))
    low, central, high = (max(0.0, trend.slope + sign * _Z * error - behind) for sign in (-1, 0, 1))
    return _ExpectedGain(low, central, high, before.slope + _Z * before.error - behind)


def _potential(best: Array, noise: float, ideal: float) -> float:
    """Return the largest late gain, in metric units: nearly all before the take-off, a share of it afterwards."""
    gained = float(best[-1] - best[0])
    left = ideal - float(best[-1])
    # once the run has passed its ideal, use the known scale of the metric
    if left <= 0:
        left = max(gained, abs(float(best[-1])))
    ahead = 1 / (1 + gained / (_TAKEN_OFF * left)) if left > 0 else 0.0
    return left * max(ahead, _LEFT) + _NOISE * noise


def _waited(best: Array, energy: Array, noise: float) -> float:
    """Return the energy spent, plus `_STALL` times the energy since the best came within half a scatter of today's."""
    since = int(np.searchsorted(best, best[-1] - noise / 2, side="left"))
    return float(energy[-1] + _STALL * (energy[-1] - energy[since]))


def _realised_gain(best: Array, energy: Array) -> float:
    since = min(int(np.searchsorted(energy, energy[-1] * 2 / 3)), len(energy) - 2)
    span = float(energy[-1] - energy[since])
    return float(best[-1] - best[since]) / span if span > 0 else 0.0


def _next_fall(remaining_lr: Sequence[float]) -> float | None:
    """Return when the learning rate next drops by half or more in one step, as a share of the rest; None if never."""
    rates = np.asarray(remaining_lr, dtype=np.float64)
    if len(rates) < 2 or not np.isfinite(rates).all():
        return None
    falls = (rates[1:] <= rates[:-1] / 2) & (rates[:-1] > rates.max() / 50)
    return float(np.argmax(falls) + 1) / (len(rates) - 1) if falls.any() else None


def _decay_is_ahead(remaining_lr: Sequence[float] | None) -> bool:
    return remaining_lr is not None and len(remaining_lr) > 1 and remaining_lr[-1] <= remaining_lr[0] / 2


class StoppingRule:
    """Stopping rule that takes one evaluation at a time and returns a verdict after each.

    Energy is in kWh by name. Any unit will do if threshold and plan use the same one.

    Args:
        threshold: smallest gain that is worth its energy.
        mode: "max" if more of the metric is better, "min" if less.
        ideal: best possible value of the metric. By default 0 for "min", and 1 for "max", or 100 once a value exceeds
            1. A metric that passes its ideal is judged by the range it has covered.

    Raises:
        ArgumentError: `mode` is neither, or `ideal` is not finite.
    """

    def __init__(self, threshold: Threshold, mode: Mode = "max", *, ideal: float | None = None) -> None:
        if mode not in ("min", "max"):
            raise ArgumentError("mode", mode, '"min" or "max"')
        if ideal is not None and not math.isfinite(ideal):
            raise ArgumentError("ideal", ideal, "a finite number, or None")
        self.threshold, self.mode, self.ideal = threshold, mode, ideal
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
        """Record one evaluation and judge the run.

        Args:
            value: the metric; None, NaN or infinite if the evaluation failed.
            spent_kwh: cumulative energy of the run so far. It may be less than before, if earlier figures were too
                high.
            planned_kwh: energy of the whole run as projected now. If unknown, the run is assumed to be half done.
            remaining_lr: learning rates from now to the end of the plan, evenly spaced, current rate included, in any
                unit. A hundred values show its drops. Optional: it keeps a run going up to a drop that should pay.

        Returns:
            The verdict. The method never raises on values that a training run may log.
        """
        spent_kwh = self._corrected(spent_kwh)
        planned_kwh = planned_kwh if planned_kwh and math.isfinite(planned_kwh) else 2 * spent_kwh
        if value is None or not abs(value) < _HUGE:
            self._failures += 1
            return self._judge_failure(spent_kwh, planned_kwh)
        self._failures, self._finite_kwh = 0, spent_kwh
        self._scores.append(self._sign * float(value))
        self._energies.append(spent_kwh)
        return self._judge(planned_kwh, remaining_lr)

    def _corrected(self, spent_kwh: float) -> float:
        """Return the energy so far. If it has decreased, scale earlier figures down by the same factor."""
        before_kwh = self._energies[-1] if self._energies else 0.0
        if not 0 < spent_kwh < math.inf:
            return before_kwh
        if spent_kwh < before_kwh:
            self._energies = [energy * (spent_kwh / before_kwh) for energy in self._energies]
            self._finite_kwh *= spent_kwh / before_kwh
        return spent_kwh

    def _judge_failure(self, spent_kwh: float, planned_kwh: float) -> Verdict:
        lost = spent_kwh - self._finite_kwh
        if self._failures < _DIVERGED_IN_A_ROW or lost < _DIVERGED_SHARE * planned_kwh:
            return Verdict(False, f"goes on: no finite value in {self._failures} evaluations in a row")
        reason = f"the metric has not been finite in {self._failures} evaluations in a row: the run has diverged"
        return Verdict(self.threshold.is_set, reason, diverged=True)

    def _judge(self, planned_kwh: float, remaining_lr: Sequence[float] | None) -> Verdict:
        scores, energies = np.array(self._scores), np.array(self._energies)
        # an evaluation before training has no energy, so it cannot be part of the trend
        trained = energies > 1e-9 * energies[-1]
        if np.count_nonzero(trained) < MIN_EVALUATIONS:
            few = f"goes on: {MIN_EVALUATIONS} evaluations are needed to judge; evaluate more often to stop earlier"
            return Verdict(False, few)
        record = _Record(scores, energies, np.maximum.accumulate(scores), planned_kwh)
        gain = _expected_gain(record, trained)
        threshold = self.threshold.per_kwh(planned_kwh)
        pays = threshold is None or max(gain.high, gain.high_before) > threshold
        stop = threshold is not None and not pays and not self._late_gain_pays(threshold, record, remaining_lr)
        cool_down = stop and _decay_is_ahead(remaining_lr)
        return Verdict(
            stop,
            self._reason(gain, threshold, planned_kwh, stop=stop, pays=pays, cool_down=cool_down),
            _realised_gain(record.best, energies),
            gain.central,
            gain.low,
            gain.high,
            cool_down=cool_down,
            saves_kwh=record.left_kwh if stop else 0.0,
        )

    def _late_gain_pays(self, threshold: float, record: _Record, remaining_lr: Sequence[float] | None) -> bool:
        """Return True if it is worth waiting for a gain that the trend does not show."""
        return not self._waited_enough(threshold, record) or self._fall_pays(threshold, record, remaining_lr)

    def _waited_enough(self, threshold: float, record: _Record) -> bool:
        noise = scatter(record.scores)
        worth = _potential(record.best, noise, self._signed_ideal(record.best)) / (threshold * record.planned_kwh)
        return _waited(record.best, record.energies, noise) >= _WAIT * record.planned_kwh * math.sqrt(worth)

    def _signed_ideal(self, best: Array) -> float:
        if self.ideal is not None:
            return self._sign * self.ideal
        if self.mode == "min":
            return 0.0
        return 1.0 if best[-1] <= 1 else 100.0

    def _fall_pays(self, threshold: float, record: _Record, remaining_lr: Sequence[float] | None) -> bool:
        """Return True if a sudden drop of the learning rate ahead is worth the energy up to it."""
        fall = _next_fall(remaining_lr) if remaining_lr is not None else None
        if fall is None:
            return False
        gain = _TAKEN_OFF * (self._signed_ideal(record.best) - float(record.best[-1]))
        return gain > threshold * fall * record.left_kwh

    def _reason(
        self,
        gain: _ExpectedGain,
        threshold: float | None,
        planned_kwh: float,
        *,
        stop: bool,
        pays: bool,
        cool_down: bool,
    ) -> str:
        percent = self.threshold.min_gain_per_percent is not None
        unit, scale = ("1 % of the run", planned_kwh / 100) if percent else ("kWh", 1.0)
        central, low, high = (f"{scale * value:.2g}" for value in (gain.central, gain.low, gain.high))
        text = f"the next {unit} is expected to bring {central} (90 %: {low} to {high})"
        if threshold is not None:
            text += f", you asked for {scale * threshold:.2g}"
        if cool_down:
            text += "; starting the learning rate's decay now may be worth more than stopping"
        if stop:
            return text
        return f"goes on: {text}" if pays else f"goes on, a late gain may yet come: {text}"

    def state_dict(self) -> dict[str, Any]:
        """Return the state for `load_state_dict`, made of numbers and lists only."""
        return {
            "scores": list(self._scores),
            "energies_kwh": list(self._energies),
            "failures": self._failures,
            "finite_kwh": self._finite_kwh,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned. The threshold stays this rule's own.

        Raises:
            KeyError, OverflowError, TypeError, ValueError: the state is of something else; nothing has changed then.
        """
        scores, energies = ([float(each) for each in state[name]] for name in ("scores", "energies_kwh"))
        failures, finite_kwh = int(state["failures"]), float(state["finite_kwh"])
        rising = all(before <= after for before, after in pairwise([0.0, *energies]))
        finite = all(abs(each) < _HUGE for each in (*scores, *energies, finite_kwh))
        if len(scores) != len(energies) or not rising or not finite:
            raise ValueError("scores and energies of a run are finite, equally many, and the energies rise")
        self._scores, self._energies = scores, energies
        self._failures, self._finite_kwh = failures, finite_kwh
