from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from trainwatt.stopping.lr_schedule import rates_of, steps_ahead
from trainwatt_torch.lr_schedule import torch_rates

Make = Callable[[torch.optim.Optimizer], Any]
KNOWN: dict[str, Make] = {
    "lambda": lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / 40)),
    "steps": lambda optimizer: schedulers.StepLR(optimizer, 10, 0.1),
    "milestones": lambda optimizer: schedulers.MultiStepLR(optimizer, [7, 30], 0.1),
    "exponential": lambda optimizer: schedulers.ExponentialLR(optimizer, 0.9),
    "cosine": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 40),
    "linear": lambda optimizer: schedulers.LinearLR(optimizer, 1.0, 0.1, 40),
}


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)


def stepped(scheduler: Any, steps: int) -> list[float]:
    """Return the rates that it really sets, step by step."""
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_predicted_rates_are_those_that_are_set(make: Make) -> None:
    scheduler = make(optimizer())
    stepped(scheduler, 5)
    predicted = torch_rates(scheduler, 35)
    assert predicted == pytest.approx(stepped(scheduler, 35), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_predicting_does_not_change_the_scheduler(make: Make) -> None:
    scheduler = make(optimizer())
    stepped(scheduler, 5)
    before = copy.deepcopy(scheduler.state_dict())
    torch_rates(scheduler, 100)
    assert scheduler.state_dict().keys() == before.keys()
    assert scheduler.get_last_lr() == before["_last_lr"]
    assert scheduler.last_epoch == before["last_epoch"]


def test_a_scheduler_that_depends_on_the_metric_is_not_predicted() -> None:
    assert torch_rates(schedulers.ReduceLROnPlateau(optimizer()), 100) is None
    assert torch_rates(None, 100) is None


def test_a_schedule_that_raises_for_future_steps_gives_none() -> None:
    def fails(step: int) -> float:
        return [1.0, 0.5][step]

    assert rates_of(fails, 0, 1) == [1.0, 0.5]
    assert rates_of(fails, 0, 10) is None


def test_a_long_schedule_is_sampled_at_a_hundred_steps() -> None:
    steps = steps_ahead(1_000_000)
    assert len(steps) == 100
    assert (steps[0], steps[-1]) == (0, 1_000_000)
    assert steps_ahead(0.0) == [0]
