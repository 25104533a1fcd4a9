"""Shapes of the events in ``events.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwatt.schema import parts
from trainwatt.schema.shape import (
    ABSENT,
    DamagedError,
    Shape,
    count,
    flag,
    integer,
    list_of,
    name,
    number,
    one_of,
    optional,
    record,
    table_of,
    text,
)
from trainwatt.schema.summary import projection

_value = optional(number(-1e300, 1e300))
# Energy of the run by then.
_taken: dict[str, tuple[Shape, Any]] = {"seconds": (parts.seconds, 0.0)}
_stretch = record({"joules": parts.joules, "seconds": table_of(parts.seconds)})
_stop = {"stop": flag, "at": text, "reason": text, "total_j": parts.joules}

_SHAPES: Mapping[str, Shape] = {
    "start": record(
        {"run": name, "began_unix_s": number(0, 2e11)},
        {
            "pid": (optional(integer), None),
            "pid_space": (optional(text), None),
            "host": (text, ABSENT),
            "boot": (text, ABSENT),
            "monotonic_s": (optional(number(0)), ABSENT),
        },
    ),
    "span": record(
        {"epoch": integer, "phase": name, "seconds": parts.seconds, "joules": parts.known_joules},
        {
            "entries": (count(), 0),
            "steps": (count(), 0),
            "loop": (integer, 0),
            "index": (integer, ABSENT),
            "labels": (table_of(parts.span), ABSENT),
        },
    ),
    "power": record({"stretches": list_of(_stretch)}),
    "projection": projection,
    "resumed": record({"attempts": list_of(parts.attempt)}),
    "end": record({"status": name}, {"total_j": (optional(parts.joules), None)}),
    "score": record({"name": text, "value": _value, "total_j": parts.joules}, _taken),
    "verdict": record(
        {**_stop, "value": _value},
        {**_taken, "name": (optional(text), None), "mode": (optional(one_of("min", "max")), None)},
    ),
    "budget": record(_stop, _taken),
    "exit": record({"code": integer}),
}


def checked(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a checked event of ours; None for any other.

    Earlier versions wrote the notes of a person among ours under any name. One that is named like an event of ours
    does not have its fields, and is none.
    """
    kind = event.get("event")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return None
    try:
        return {**shape(event), "event": kind}
    except DamagedError:
        return None
