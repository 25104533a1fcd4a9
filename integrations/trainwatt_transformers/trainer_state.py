"""Devices and log entries of a Trainer, as far as the callbacks read and extend them."""

from __future__ import annotations

import logging
from typing import Any

import torch
from transformers import Trainer, TrainerState
from transformers.integrations.integration_utils import CodeCarbonCallback

from trainwatt.accounting.timeline import Span

_log = logging.getLogger("trainwatt")


def devices_of(trainer: Trainer) -> list[torch.device]:
    """Return the devices that this process computes on."""
    device: torch.device = trainer.args.device
    if trainer.is_model_parallel and trainer.model is not None:
        return [device, *{parameter.device for parameter in trainer.model.parameters()}]
    if trainer.args.n_gpu > 1:
        return [torch.device(device.type, index) for index in range(trainer.args.n_gpu)]
    return [device]


def warn_of_codecarbon(trainer: Trainer) -> bool:
    """Warn if CodeCarbon measures the same training, and return True then."""
    found = any(isinstance(callback, CodeCarbonCallback) for callback in trainer.callback_handler.callbacks)
    if found:
        _log.warning(
            "trainwatt: CodeCarbon measures this training too. Neither disturbs the other; to pay for one only, "
            "remove 'codecarbon' from report_to."
        )
    return found


def log_entry(trainer: Trainer, values: dict[str, float], *, on_all_ranks: bool) -> None:
    """Log an entry of our own.

    A callback of the user may communicate with those of other ranks. So if all ranks take part, each of them logs even
    if there is nothing to log, and otherwise none does.

    A subclass's ``log`` is not used: TRL's adds means since its last call.

    Args:
        trainer: the Trainer.
        values: the values.
        on_all_ranks: True if every rank of the job calls this.
    """
    is_alone = trainer.args.world_size < 2
    if values if is_alone else on_all_ranks:
        Trainer.log(trainer, values)


def add_values(values: dict[str, float], logs: dict[str, Any], state: TrainerState) -> None:
    """Add values to what reporters are given, and to the history, which has a copy of it."""
    history: list[dict[str, Any]] = state.log_history
    # By identity: a comparison of tensors is a tensor, and waits for their device.
    if history and all(history[-1].get(name) is value for name, value in logs.items()):
        history[-1].update(values)
    logs.update(values)


def per_token(train: Span, tokens: int) -> dict[str, float]:
    """Return the energy per token of some training, by metric; empty if tokens or energy are not known."""
    return {"energy/token_j": train.total_j / tokens} if tokens > 0 and train.seconds > 0 else {}
