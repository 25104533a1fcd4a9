"""Learning rates that a PyTorch scheduler is going to set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from trainwatt.stopping.lr_schedule import remaining_rates


def torch_rates(scheduler: Any, steps_left: float) -> list[float] | None:
    """Return the learning rates that a PyTorch scheduler is going to set, from now to the end.

    Supported are ``LambdaLR``, which includes all schedules of Hugging Face, and schedulers with a closed form. Others
    depend on the metric or on every step before.

    Args:
        scheduler: the scheduler; it is not changed.
        steps_left: number of remaining calls of its ``step``.

    Returns:
        At most a hundred evenly spaced rates; None if the scheduler is not supported or raises.
    """
    rate = _by_lambda(scheduler) or _by_closed_form(scheduler)
    return None if rate is None else remaining_rates(rate, steps_left)


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
        # torch has no public method that evaluates a schedule for a future step
        return float(later._get_closed_form_lr()[0])  # noqa: SLF001

    return rate
