"""Power over time with exactly known energy, for a simulated board."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

_PATTERN = 1024


class Wave(Protocol):
    """Power of a load over time; times in seconds, from the origin of the machine."""

    def energy_j(self, time_s: float) -> float:
        """Return the exact integral of the power from 0 to a time, which may be negative."""
        ...

    def line(self) -> str:
        """Describe the wave to the C library: as repeated steps of power, or as a ramp."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """Constant power."""

    watts: float

    def energy_j(self, time_s: float) -> float:
        """See `Wave`."""
        return self.watts * time_s

    def line(self) -> str:
        """See `Wave`."""
        return _steps_line(0.0, [(1.0, self.watts)])


@dataclass(frozen=True, slots=True)
class Square:
    """Square wave: high for ``duty`` of each period, then low. The first high part begins at ``phase_s``."""

    low_w: float
    high_w: float
    period_s: float = 1.0
    duty: float = 0.5
    phase_s: float = 0.0

    def energy_j(self, time_s: float) -> float:
        """See `Wave`."""
        return self._since_phase_j(time_s - self.phase_s) - self._since_phase_j(-self.phase_s)

    def line(self) -> str:
        """See `Wave`."""
        high_s = self.period_s * self.duty
        return _steps_line(self.phase_s, [(high_s, self.high_w), (self.period_s - high_s, self.low_w)])

    def _since_phase_j(self, time_s: float) -> float:
        turns, rest_s = divmod(time_s, self.period_s)
        high_s = self.period_s * self.duty
        return self.low_w * time_s + (self.high_w - self.low_w) * (turns * high_s + min(rest_s, high_s))


@dataclass(frozen=True, slots=True)
class Ramp:
    """Linear ramp from one power to another; constant before and after."""

    from_w: float
    to_w: float
    start_s: float = 0.0
    length_s: float = 60.0

    def energy_j(self, time_s: float) -> float:
        """See `Wave`."""
        return self._since_start_j(time_s - self.start_s) - self._since_start_j(-self.start_s)

    def line(self) -> str:
        """See `Wave`."""
        return f"ramp {self.start_s!r} {self.length_s!r} {self.from_w!r} {self.to_w!r}"

    def _since_start_j(self, time_s: float) -> float:
        if time_s <= 0:
            return self.from_w * time_s
        if time_s >= self.length_s:
            return (self.from_w + self.to_w) / 2 * self.length_s + self.to_w * (time_s - self.length_s)
        return self.from_w * time_s + (self.to_w - self.from_w) * time_s**2 / (2 * self.length_s)


@dataclass(frozen=True, slots=True)
class Trace:
    """Repeated sequence of ``(seconds, watts)`` from time 0 on."""

    steps: Sequence[tuple[float, float]]
    _ends_s: Sequence[float] = field(init=False, repr=False, compare=False)
    _joules: Sequence[float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Add up the steps once."""
        lengths_s, joules = zip(*((length_s, length_s * watts) for length_s, watts in self.steps), strict=True)
        object.__setattr__(self, "_ends_s", list(itertools.accumulate(lengths_s)))
        object.__setattr__(self, "_joules", list(itertools.accumulate(joules)))

    def energy_j(self, time_s: float) -> float:
        """See `Wave`."""
        ends_s, joules = self._ends_s, self._joules
        turns, rest_s = divmod(time_s, ends_s[-1])
        step = min(bisect_right(ends_s, rest_s), len(ends_s) - 1)
        return turns * joules[-1] + joules[step] - self.steps[step][1] * (ends_s[step] - rest_s)

    def line(self) -> str:
        """See `Wave`."""
        return _steps_line(0.0, self.steps)


def bursts(low_w: float, high_w: float, *, slot_s: float = 0.05, share: float = 0.3, seed: int = 0) -> Trace:
    """Return random bursts, reproducible by their seed: 1,024 slots, each of them high with probability ``share``."""
    dice = random.Random(seed)
    return Trace([(slot_s, high_w if dice.random() < share else low_w) for _ in range(_PATTERN)])


def training(
    idle_w: float = 60.0, busy_w: float = 300.0, *, steps: int = 100, step_s: float = 0.25, pause_s: float = 3.0
) -> Trace:
    """Return the power of a training loop: each step ends in a short dip for loading data, each epoch in a pause."""
    step = [(0.9 * step_s, busy_w), (0.1 * step_s, 0.4 * busy_w)]
    return Trace([*(step * steps), (pause_s, idle_w)])


def _steps_line(start_s: float, steps: Sequence[tuple[float, float]]) -> str:
    pairs = " ".join(f"{length_s!r}:{watts!r}" for length_s, watts in steps if length_s > 0)
    return f"steps {start_s!r} {pairs}"
