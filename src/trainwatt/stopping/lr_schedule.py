"""Learning rates that a schedule is going to set until the end of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_POINTS = 100


def steps_ahead(steps_left: float, points: int = _POINTS) -> list[int]:
    """Return evenly spaced steps from now (0) to the end, both included.

    Args:
        steps_left: number of remaining steps.
        points: largest number of values to return.
    """
    last = max(0, math.floor(steps_left))
    count = min(points, last + 1)
    return [round(step * last / max(1, count - 1)) for step in range(count)]


def rates_of(schedule: Callable[[int], Any], step: int, steps_left: float) -> list[float] | None:
    """Return the learning rates of a function of the step, from now to the end.

    Args:
        schedule: the function, e.g. a Keras ``LearningRateSchedule``.
        step: number of completed steps.
        steps_left: number of remaining steps.

    Returns:
        At most a hundred evenly spaced rates; None if the schedule raises.
    """
    return remaining_rates(lambda further: float(schedule(step + further)), steps_left)


def remaining_rates(rate: Callable[[int], float], steps_left: float) -> list[float] | None:
    """Return the learning rates from now to the end.

    Args:
        rate: maps the number of further steps to the rate after them.
        steps_left: number of remaining steps.

    Returns:
        At most a hundred evenly spaced rates; None if `rate` raises.
    """
    try:
        return [rate(further) for further in steps_ahead(steps_left)]
    # a user's schedule may fail in any way when it is evaluated for future steps; the rule works without it
    except Exception:  # noqa: BLE001
        return None
