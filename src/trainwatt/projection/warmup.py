"""End of a phase's warm-up, and its extra cost over the same number of later steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainwatt.accounting.step_profile import Block

_Steps = npt.NDArray[np.float64]

# With fewer blocks, a warm-up cannot be distinguished from noise.
_LEAST_BLOCKS = 4
# An excess counts as warm-up from this many standard errors of the cumulative sum.
_SURE = 3.0
# A step counts as a one-off from this multiple of the usual duration.
_LONE = 8.0
# If more blocks than this are that slow, they recur and are not one-offs.
_LONE_BLOCKS = 2
# A one-off takes at least this share of the duration of all steps.
_LONE_SHARE = 0.02
# The steady blocks are grouped into this many batches to estimate their spread.
_BATCHES = 8


@dataclass(slots=True)
class Cost:
    """Duration in seconds and energy in joules."""

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
        """Return True if both figures are close to those of another cost.

        Args:
            other: the cost to compare with.
            within: largest difference, relative to `other`.
        """
        pairs = ((self.seconds, other.seconds), (self.joules, other.joules))
        return all(abs(own - its) <= within * max(its, 1e-12) for own, its in pairs)


class WarmupEstimate(NamedTuple):
    """Estimate of a phase's warm-up from its first epoch, or from the completed part of it.

    Attributes:
        excess: duration and energy that will not recur.
        steps: number of completed steps.
        error: relative standard error of the energy per step after the warm-up.
    """

    excess: Cost
    steps: int
    error: float


def estimate_warmup(blocks: Sequence[Block]) -> WarmupEstimate:
    """Separate the warm-up of a phase from its steady state.

    The warm-up ends where the cumulative sum of the blocks' excess over the rate of the later half is highest (Page,
    "Continuous inspection schemes", Biometrika 41, 1954). It counts only if the sum exceeds what noise would cause.
    After it, one or two steps may be far more expensive than all others, e.g. because a new input shape is compiled.
    They are assumed to be one-offs as well.

    Args:
        blocks: blocks of one phase, in order of time.
    """
    steps = np.array([block.steps for block in blocks], dtype=float)
    costs = np.array([(block.seconds, block.joules) for block in blocks]).reshape(-1, 2)
    total = int(steps.sum())
    has_steps = steps > 0
    if has_steps.sum() < _LEAST_BLOCKS:
        return WarmupEstimate(Cost(), total, 0.0)
    steps, costs = steps[has_steps], costs[has_steps]
    end = _end(steps, costs[:, 0])
    lone = _lone(steps[end:], costs[end:, 0])
    keep = ~lone
    rate = costs[end:][keep].sum(0) / steps[end:][keep].sum()
    once = np.concatenate([np.ones(end, dtype=bool), lone])
    excess = Cost(*(costs[once].sum(0) - rate * steps[once].sum()).tolist())
    return WarmupEstimate(excess, total, _error(steps[end:][keep], costs[end:, 1][keep]))


def _end(steps: _Steps, seconds: _Steps) -> int:
    """Return the number of blocks that belong to the warm-up."""
    later = int(np.searchsorted(np.cumsum(steps), steps.sum() / 2))
    later = min(later, len(steps) - 2)
    if later < 1:
        return 0
    rate = _usual_rate(steps[later:], seconds[later:])
    excess = np.cumsum(seconds[: later + 1] - rate * steps[: later + 1])
    end = int(np.argmax(excess)) + 1
    noise = 1.4826 * np.median(np.abs(seconds[later:] - rate * steps[later:]) / np.sqrt(steps[later:]))
    return end if excess[end - 1] > _SURE * noise * np.sqrt(steps[:end].sum()) else 0


def _usual_rate(steps: _Steps, seconds: _Steps) -> float:
    """Return the seconds per step, without one-offs."""
    keep = ~_lone(steps, seconds)
    return float(seconds[keep].sum() / steps[keep].sum())


def _lone(steps: _Steps, seconds: _Steps) -> npt.NDArray[np.bool_]:
    """Return the mask of one-offs: one or two blocks that are far slower than all others."""
    lone = np.zeros(len(steps), dtype=bool)
    if len(steps) < _LEAST_BLOCKS:
        return lone
    usual = float(np.median(seconds / steps))
    excess = seconds - usual * steps
    slow = np.flatnonzero(excess > np.maximum(_LONE * usual, _LONE_SHARE * seconds.sum()))
    if len(slow) <= _LONE_BLOCKS:
        lone[slow] = True
    return lone


def _error(steps: _Steps, joules: _Steps) -> float:
    """Return the relative standard error of the rate, by batch means because neighbouring blocks are correlated."""
    if len(steps) < _LEAST_BLOCKS or not joules.sum() > 0:
        return 0.0
    parts = min(_BATCHES, len(steps) // 2)
    cuts = np.searchsorted(np.cumsum(steps), np.linspace(0, steps.sum(), parts + 1)[1:-1])
    sums = np.add.reduceat(np.stack([steps, joules], 1), np.unique([0, *cuts]), axis=0)
    rates = sums[:, 1] / sums[:, 0]
    return float(rates.std(ddof=1) / rates.mean() / np.sqrt(len(rates))) if len(rates) > 1 else 0.0
