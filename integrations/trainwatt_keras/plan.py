"""What a call of ``fit`` is going to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from trainwatt.projection.plan import Plan, stops_early
from trainwatt_keras.model_calls import Call

_BATCH = 32  # Keras's own default


def plan_of(params: Mapping[str, Any], call: Call | None, callbacks: Iterable[object]) -> Plan:
    """The plan of a training that begins.

    Args:
        params: what Keras tells its callbacks.
        call: the call of ``fit``, where there is one.
        callbacks: all of the training.
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
    """In one evaluation; None where only iterating would tell."""
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
    """How many samples or batches it holds; 0 where that is not known."""
    while isinstance(data, (list, tuple, dict)) and data:
        data = next(iter(data.values() if isinstance(data, dict) else data))
    shape = getattr(data, "shape", None)
    try:
        return int(shape[0]) if shape else len(data)
    except TypeError:
        return 0
