"""What is left of a learning-rate schedule, asked of the schedule itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

_POINTS = 100


def ahead(steps_left: float, points: int = _POINTS) -> list[int]:
    """Steps from now to the end, evenly spaced, both included; at most ``points`` of them."""
    last = max(0, math.floor(steps_left))
    count = min(points, last + 1)
    return [round(step * last / max(1, count - 1)) for step in range(count)]


def torch_rates(scheduler: Any, steps_left: float) -> list[float] | None:
    """The learning rates that a scheduler of PyTorch's is going to set, from now to the end.

    Lambda schedules, among them all of Hugging Face's, are asked for their factor, and those with a closed form for
    that. Others change with the metric or step by step: None.

    Args:
        scheduler: the scheduler; it is left as it is.
        steps_left: how often it is still going to be stepped.
    """
    rate = _by_lambda(scheduler) or _by_closed_form(scheduler)
    return None if rate is None else _safely(rate, ahead(steps_left))


def rates_of(schedule: Callable[[int], Any], step: int, steps_left: float) -> list[float] | None:
    """The learning rates of a function of the step, from now to the end.

    Args:
        schedule: the function, e.g. a Keras ``LearningRateSchedule``.
        step: steps made so far.
        steps_left: steps still to come.
    """
    return _safely(lambda further: float(schedule(step + further)), ahead(steps_left))


def _by_lambda(scheduler: Any) -> Callable[[int], float] | None:
    lambdas: Sequence[Callable[[int], float]] = getattr(scheduler, "lr_lambdas", ())
    if not lambdas or type(scheduler).__name__ != "LambdaLR":
        return None
    return lambda further: float(scheduler.base_lrs[0] * lambdas[0](scheduler.last_epoch + further))


def _by_closed_form(scheduler: Any) -> Callable[[int], float] | None:
    if not hasattr(scheduler, "_get_closed_form_lr"):
        return None

    def rate(further: int) -> float:
        later = copy.copy(scheduler)
        later.last_epoch = scheduler.last_epoch + further
        return float(later._get_closed_form_lr()[0])  # noqa: SLF001  # there is no public way to look ahead

    return rate


def _safely(rate: Callable[[int], float], steps: Sequence[int]) -> list[float] | None:
    """A schedule of the user's own may do anything when it is asked for the future."""
    try:
        return [rate(step) for step in steps]
    except Exception:  # noqa: BLE001  # the rule does without
        return None
