"""Log entries and the state of a Trainer, as far as the callback reads and extends them."""

from __future__ import annotations

import logging
from typing import Any

from transformers import Trainer, TrainerState
from transformers.integrations.integration_utils import CodeCarbonCallback

from trainwatt.accounting.timeline import Span

_log = logging.getLogger("trainwatt")


def warn_of_codecarbon(trainer: Trainer) -> bool:
    """Warn if CodeCarbon measures the same training, and return True then."""
    found = any(isinstance(callback, CodeCarbonCallback) for callback in trainer.callback_handler.callbacks)
    if found:
        _log.warning(
            "trainwatt: CodeCarbon measures this training too. Neither disturbs the other; to pay for one only, "
            "remove 'codecarbon' from report_to."
        )
    return found


def add_values(values: dict[str, float], logs: dict[str, Any], state: TrainerState) -> None:
    """Add values to what reporters are given, and to the history, which has a copy of it."""
    history: list[dict[str, Any]] = state.log_history
    if history and logs.items() <= history[-1].items():
        history[-1].update(values)
    logs.update(values)


def callback_states(state: TrainerState) -> dict[str, Any]:
    """Return the states of callbacks, as a checkpoint holds them."""
    states: Any = state.stateful_callbacks
    return states if isinstance(states, dict) else {}


def per_token(train: Span, tokens: int) -> dict[str, float]:
    """Return the energy per token of some training, by metric; empty if tokens or energy are not known."""
    return {"energy/token_j": train.total_j / tokens} if tokens > 0 and train.seconds > 0 else {}
