"""The plan of a call of ``fit``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from trainwatt.callbacks.lifecycle import first_leaf
from trainwatt.projection.plan import Plan, stops_early
from trainwatt_keras.model_calls import Call

_BATCH = 32  # Keras's own default


def plan_of(params: Mapping[str, Any], call: Call | None, callbacks: Iterable[object]) -> Plan:
    """Return the plan of a training that begins.

    Args:
        params: the parameters that Keras gives its callbacks.
        call: the call of ``fit``; None in a custom loop.
        callbacks: all callbacks of the training.
    """
    arguments: Mapping[str, Any] = call.arguments if call else {}
    first = int(arguments.get("initial_epoch", 0))
    epochs, every = params.get("epochs"), arguments.get("validation_freq", 1)
    validates = call is not None and call.validates
    return Plan(
        epochs=None if epochs is None else max(0, epochs - first),
        steps_per_epoch=params.get("steps"),
        first_epoch=first,
        validate_epochs=every if validates and isinstance(every, int) else None,
        validate_at=tuple(every) if validates and not isinstance(every, int) else (),
        validation_batches=_evaluation_batches(arguments) if validates else None,
        may_stop=stops_early(callbacks),
    )


def _evaluation_batches(arguments: Mapping[str, Any]) -> int | None:
    """Return the number of batches in one evaluation; None if only iterating over the data would tell."""
    if arguments.get("validation_steps") is not None:
        return int(arguments["validation_steps"])
    data = arguments.get("validation_data")
    if data is None:
        samples = float(arguments.get("validation_split", 0.0)) * _length(arguments.get("x"))
    elif not isinstance(data, (tuple, list)):
        return _length(data) or None
    else:
        samples = _length(data[0])
    batch = arguments.get("validation_batch_size") or arguments.get("batch_size") or _BATCH
    return math.ceil(samples / batch) or None


def _length(data: Any) -> int:
    """Return the number of samples or batches; 0 if unknown."""
    data = first_leaf(data)
    shape = getattr(data, "shape", None)
    try:
        return int(shape[0]) if shape else len(data)
    except TypeError:
        return 0
