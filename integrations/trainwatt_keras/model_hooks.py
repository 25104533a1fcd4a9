"""Hooks into the model: the devices that it computes on, and the moment at which it writes a checkpoint.

Keras has no hook for a save: callbacks write the model in hooks of their own.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import keras

from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.callbacks.replaced_method import ReplacedMethod
from trainwatt.power.accelerators import Accelerator

_SAVES = ("save", "save_weights")


def devices_of(model: Any) -> list[object] | None:
    """Return the devices that Keras computes on: of PyTorch, those that hold the model; else all; None if unknown."""
    backend = keras.backend.backend()
    if backend == "torch":
        return None if model is None else list({variable.value.device for variable in model.variables}) or None
    if backend == "jax":
        import jax  # noqa: PLC0415  # the backend, which Keras has imported

        return list(jax.local_devices())
    return _tensorflow_devices() if backend == "tensorflow" else None


def _tensorflow_devices() -> list[object]:
    # the backend, which Keras has imported
    import tensorflow as tf  # type: ignore[import-untyped]  # noqa: PLC0415

    gpu = "ROCm" if tf.test.is_built_with_rocm() else "MPS" if sys.platform == "darwin" else "CUDA"
    found: list[object] = []
    for device in tf.config.get_visible_devices():
        if device.device_type != "CPU":
            details = tf.config.experimental.get_device_details(device) if device.device_type == "GPU" else {}
            platform = gpu if device.device_type == "GPU" else device.device_type
            index = int(device.name.rpartition(":")[2])
            found.append(Accelerator(platform, index, name=details.get("device_name", "")))
    return found


def time_saves(model: Any, run: Lifecycle, undo: ExitStack) -> None:
    """Charge the model's saves to the phase ``checkpoint``.

    Args:
        model: its methods are wrapped, in the object, not in its class.
        run: is charged.
        undo: gets what restores the methods at the end.
    """
    for name in _SAVES:
        undo.callback(ReplacedMethod(model, name, run.timed).restore)
