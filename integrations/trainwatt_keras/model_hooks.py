"""What is asked of the model: which GPUs hold it, and when it writes a checkpoint."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import keras

from trainwatt.tracking.tracker import Tracker

_SAVES = ("save", "save_weights")


def gpu_uuids(model: Any) -> tuple[str, ...] | None:
    """The GPUs that hold the model, which only PyTorch can name; None where it may be any."""
    torch = sys.modules.get("torch")
    if keras.backend.backend() != "torch" or torch is None or model is None:
        return None
    devices = {variable.value.device for variable in model.variables}
    if not devices or any(device.type != "cuda" for device in devices):
        return None
    uuids = [getattr(torch.cuda.get_device_properties(device), "uuid", None) for device in devices]
    return None if None in uuids else tuple(sorted(str(uuid) for uuid in uuids))


def time_saves(model: Any, run: Tracker, undo: ExitStack) -> None:
    """Charge the model's saves to the run's checkpoints: callbacks write them in hooks of their own.

    Args:
        model: whose methods are wrapped, in itself, not in its class.
        run: what is charged.
        undo: what to do at the end is added to it.
    """
    own = model.__dict__  # past Keras's and PyTorch's own ways of setting attributes, which look for layers
    for name in _SAVES:
        own[name] = _timed(getattr(model, name), run)
        undo.callback(own.pop, name, None)


def _timed(save: Callable[..., Any], run: Tracker) -> Callable[..., Any]:
    training_thread = threading.get_ident()

    @functools.wraps(save)
    def timed(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != training_thread:  # beside the training, which goes on being charged
            return save(*args, **kwargs)
        with run.phase("checkpoint"):
            return save(*args, **kwargs)

    return timed
