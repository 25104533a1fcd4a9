"""Hooks into the model: the GPUs that hold it, and the moment at which it writes a checkpoint.

Keras has no hook for a save: callbacks write the model in hooks of their own.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import keras

from trainwatt.callbacks.lifecycle import Lifecycle

_SAVES = ("save", "save_weights")


def gpu_uuids(model: Any) -> tuple[str, ...] | None:
    """Return the UUIDs of the GPUs that hold the model, which only PyTorch can name; None if unknown."""
    if keras.backend.backend() != "torch" or model is None:
        return None
    from trainwatt_torch import devices  # noqa: PLC0415  # the other backends have no torch

    return devices.gpu_uuids(variable.value.device for variable in model.variables)


def time_saves(model: Any, run: Lifecycle, undo: ExitStack) -> None:
    """Charge the model's saves to the phase ``checkpoint``.

    Args:
        model: its methods are wrapped, in the object, not in its class.
        run: is charged.
        undo: gets what restores the methods at the end.
    """
    # past Keras's and PyTorch's own ways of setting attributes, which look for layers
    own = model.__dict__
    for name in _SAVES:
        own[name] = run.timed(getattr(model, name))
        undo.callback(own.pop, name, None)
