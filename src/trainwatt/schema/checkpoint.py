"""Shapes of the states that checkpoints hold."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from trainwatt.schema import parts
from trainwatt.schema.shape import (
    ABSENT,
    DamagedError,
    Shape,
    also,
    count,
    list_of,
    name,
    number,
    optional,
    record,
    table_of,
    text,
)

# No metric is larger, and squares of such figures stay finite.
_METRIC = number(-1e100, 1e100)
_kwh = number(0, what="a number of kWh")
_some_factors = record({}, {"factors": (list_of(parts.factor), ())})


def _footprint(value: Any) -> dict[str, Any]:
    """Return the factors behind a footprint, or the whole of it if the state is a summary."""
    whole = isinstance(value, Mapping) and "co2e_kg" in value
    made: dict[str, Any] = (parts.footprint if whole else _some_factors)(value)
    return made


_monitor = record(
    {
        "run": name,
        "total_j": parts.joules,
        "phases": table_of(parts.span),
        "devices": list_of(parts.device),
        "attempts": list_of(parts.attempt, least=1),
    },
    {
        "id": (text, ABSENT),
        "training": (text, ABSENT),
        "status": (text, ABSENT),
        "folder": (optional(text), None),
        "footprint": (optional(_footprint), ABSENT),
        "site": (optional(parts.site), ABSENT),
        "total_kwh": (_kwh, ABSENT),
        "total_kwh_low": (_kwh, ABSENT),
        "total_kwh_high": (_kwh, ABSENT),
    },
)


def _attempts_add_up(made: dict[str, Any]) -> dict[str, Any]:
    """Check that no attempt has drawn another amount than its phases, which earlier versions left out."""
    for index, attempt in enumerate(made["attempts"]):
        spans = attempt.get("phases", {}).values()
        phases_j = sum(sum(span["joules"].values()) for span in spans)
        if spans and abs(phases_j - attempt["total_j"]) > 1 + 0.01 * attempt["total_j"]:
            raise DamagedError(f"the sum of its phases, {phases_j:g}", attempt["total_j"]).within(index)
    return made


monitor: Shape = also(_monitor, _attempts_add_up)
"""State of a monitor, or the summary of a run."""

_rule = record(
    {
        "scores": list_of(_METRIC),
        "energies_kwh": list_of(_kwh),
        "failures": count(),
        "finite_kwh": _kwh,
    }
)


def _judged(value: Any) -> dict[str, Any]:
    """Return the evaluations of a stopping rule: a score and the energy by then for each."""
    made: dict[str, Any] = _rule(value)
    scores, energies = made["scores"], made["energies_kwh"]
    if len(scores) != len(energies):
        raise DamagedError(f"as many figures as scores, {len(scores)}", energies).within("energies_kwh")
    if any(one > other for one, other in pairwise(energies)):
        raise DamagedError("energies that do not fall").within("energies_kwh")
    return made


_stopper = record(
    {"rule": optional(_judged), "evaluations": count(), "agreed": count()},
    {
        "first": (optional(_METRIC), None),
        "best": (optional(_METRIC), None),
        "waited": (count(), 0),
        "spent_kwh": (_kwh, 0.0),
        "run": (lambda value: monitor(value) if value else {}, ABSENT),
    },
)


def _whole_stopper(made: dict[str, Any]) -> dict[str, Any]:
    if (made["first"] is None) != (made["best"] is None):
        raise DamagedError("a first and a best value, or none of both")
    return made


stopper: Shape = also(_stopper, _whole_stopper)
"""State of a green stopper."""
