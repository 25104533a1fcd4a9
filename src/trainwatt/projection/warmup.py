"""Where the warm-up of a phase ends, and what it took over the same steps later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainwatt.accounting.step_profile import Block

_Steps = npt.NDArray[np.float64]

_LEAST_BLOCKS = 4  # fewer tell nothing
_SURE = 3.0  # standard errors of the sum from which on an excess is a warm-up
_LONE = 8.0  # times a usual step, from which on one or two happen once only
_LONE_BLOCKS = 2  # at most: more of them come again and again
_LONE_SHARE = 0.02  # of the seconds of all steps, which it must take at least
_BATCHES = 8  # parts into which the steady blocks are put together to see how much they differ


@dataclass(slots=True)
class Cost:
    """Seconds and joules."""

    seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.joules + other.joules)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.seconds - other.seconds, self.joules - other.joules)

    def __mul__(self, by: float) -> Cost:
        return Cost(self.seconds * by, self.joules * by)

    def __truediv__(self, by: float) -> Cost:
        return Cost(self.seconds / by, self.joules / by)

    def is_like(self, other: Cost, within: float) -> bool:
        """Whether both figures are near those of another, relative to those."""
        pairs = ((self.seconds, other.seconds), (self.joules, other.joules))
        return all(abs(own - its) <= within * max(its, 1e-12) for own, its in pairs)


class WarmupEstimate(NamedTuple):
    """The first epoch of a phase, or the part of it that has been.

    Attributes:
        excess: seconds and joules that will not come again.
        steps: made so far.
        error: relative standard error of the later rate, in joules.
    """

    excess: Cost
    steps: int
    error: float


def estimate_warmup(blocks: Sequence[Block]) -> WarmupEstimate:
    """Tell the warm-up of a phase from what goes on.

    The warm-up ends where the cumulative sum of the blocks' excess over the rate of the later half is highest (Page,
    "Continuous inspection schemes", Biometrika 41, 1954); it is one only if the sum exceeds what noise would make it.
    Of the rest one or two steps that are far dearer than all others, as those of another shape that is compiled anew,
    are taken to happen only once, too.

    Args:
        blocks: of one phase, in the order of time.
    """
    steps = np.array([block.steps for block in blocks], dtype=float)
    costs = np.array([(block.seconds, block.joules) for block in blocks]).reshape(-1, 2)
    total = int(steps.sum())
    made = steps > 0
    if made.sum() < _LEAST_BLOCKS:
        return WarmupEstimate(Cost(), total, 0.0)
    steps, costs = steps[made], costs[made]
    end = _end(steps, costs[:, 0])
    lone = _lone(steps[end:], costs[end:, 0])
    keep = ~lone
    rate = costs[end:][keep].sum(0) / steps[end:][keep].sum()
    once = np.concatenate([np.ones(end, dtype=bool), lone])
    excess = Cost(*(costs[once].sum(0) - rate * steps[once].sum()).tolist())
    return WarmupEstimate(excess, total, _error(steps[end:][keep], costs[end:, 1][keep]))


def _end(steps: _Steps, seconds: _Steps) -> int:
    """How many blocks belong to the warm-up."""
    later = int(np.searchsorted(np.cumsum(steps), steps.sum() / 2))
    later = min(later, len(steps) - 2)
    if later < 1:
        return 0
    rate = _typical(steps[later:], seconds[later:])
    excess = np.cumsum(seconds[: later + 1] - rate * steps[: later + 1])
    end = int(np.argmax(excess)) + 1
    noise = 1.4826 * np.median(np.abs(seconds[later:] - rate * steps[later:]) / np.sqrt(steps[later:]))
    return end if excess[end - 1] > _SURE * noise * np.sqrt(steps[:end].sum()) else 0


def _typical(steps: _Steps, seconds: _Steps) -> float:
    """Seconds of a step, lone dear ones left out."""
    keep = ~_lone(steps, seconds)
    return float(seconds[keep].sum() / steps[keep].sum())


def _lone(steps: _Steps, seconds: _Steps) -> npt.NDArray[np.bool_]:
    """Which blocks hold steps far dearer than all others, if there are one or two; otherwise none."""
    lone = np.zeros(len(steps), dtype=bool)
    if len(steps) < _LEAST_BLOCKS:
        return lone
    usual = float(np.median(seconds / steps))
    excess = seconds - usual * steps
    dear = np.flatnonzero(excess > np.maximum(_LONE * usual, _LONE_SHARE * seconds.sum()))
    if len(dear) <= _LONE_BLOCKS:
        lone[dear] = True
    return lone


def _error(steps: _Steps, joules: _Steps) -> float:
    """Relative standard error of the rate, by batch means: neighbouring blocks are alike."""
    if len(steps) < _LEAST_BLOCKS or not joules.sum() > 0:
        return 0.0
    parts = min(_BATCHES, len(steps) // 2)
    cuts = np.searchsorted(np.cumsum(steps), np.linspace(0, steps.sum(), parts + 1)[1:-1])
    sums = np.add.reduceat(np.stack([steps, joules], 1), np.unique([0, *cuts]), axis=0)
    rates = sums[:, 1] / sums[:, 0]
    return float(rates.std(ddof=1) / rates.mean() / np.sqrt(len(rates))) if len(rates) > 1 else 0.0
