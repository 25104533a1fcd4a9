"""Shape of ``summary.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwatt.schema import parts
from trainwatt.schema.shape import (
    ABSENT,
    DamagedError,
    Shape,
    also,
    count,
    flag,
    integer,
    list_of,
    moment,
    name,
    number,
    one_of,
    optional,
    ordered,
    record,
    table_of,
    text,
)

SCHEMA = 1
"""Latest schema that this version can read."""
_OURS = ("run", "status", "total_j", "phases", "devices")
_REQUESTS = optional(number(0))
_kwh = number(0, what="a number of kWh")

_device = also(
    record(
        {"joules": optional(parts.joules)},
        {"gap_s": (parts.seconds, 0.0)},
    ),
    parts.device,
)
_LIFE = ("training_kwh", "request_j", "break_even_requests")
_EXPECTED = ("expected_requests", "use_kwh", "training_share")
_lifetime = record({each: number(0) for each in _LIFE}, dict.fromkeys(_EXPECTED, (_REQUESTS, None)))


def _whole_life(value: Any) -> dict[str, Any]:
    made = _lifetime(value)
    if made["expected_requests"] is not None:
        for each in ("use_kwh", "training_share"):
            number(0)(made[each])
    return {each: made[each] for each in (*_LIFE, *_EXPECTED)}


_plug = record(
    {"machine": text, "kwh": optional(parts.quantity), "factor": optional(parts.factor), "basis": optional(text)},
    {"uncounted": (list_of(one_of("gpu", "cpu", "ram")), []), "hosts": (count(), 1)},
)


def _whole_plug(value: Any) -> dict[str, Any]:
    made: dict[str, Any] = _plug(value)
    if made["kwh"] is not None and (made["factor"] is None or made["basis"] is None):
        raise DamagedError("a factor and its basis for an energy at the plug")
    return made


projection: Shape = record(
    {"epochs": number(0), "steps": number(0), "total_kwh": parts.quantity},
    {
        "seconds": (parts.seconds, ABSENT),
        "remaining_s": (parts.seconds, 0.0),
        "phases_j": (table_of(parts.joules), ABSENT),
        "may_stop": (flag, False),
        "co2e_kg": (parts.quantity, ABSENT),
        "water_l": (parts.quantity, ABSENT),
        "cost": (optional(parts.quantity), ABSENT),
    },
)
_missing = record({"kind": text, "source": text, "why": text}, {"remedy": (text, ""), "warn": (flag, False)})
_MISSING = ("kind", "source", "why", "remedy", "warn")
_about = record(
    {"trainwatt": text},
    {"os": (text, ""), "python": (text, "")}
    | {
        "cpu_count": (optional(integer), None),
        "ram_gb": (optional(number(0)), None),
    },
)
_processes = record({"count": count(10**7)}, {"joined": (count(10**7), 0)})
_written = record(
    {},
    {
        "generation": (count(), 0),
        "boot": (text, ""),
        "monotonic_s": (optional(number(0)), None),
        "host": (text, ""),
        "pid": (optional(integer), None),
        "pid_space": (optional(text), None),
    },
)

_summary = record(
    {
        "run": name,
        "status": name,
        "began": moment,
        "updated": moment,
        "seconds": parts.seconds,
        "epochs": count(),
        "total_j": parts.joules,
        "total_kwh": _kwh,
        "total_kwh_low": _kwh,
        "total_kwh_high": _kwh,
        "phases": table_of(parts.span),
        "devices": list_of(_device),
    },
    {
        "schema": (count(), ABSENT),
        "id": (text, ABSENT),
        "training": (text, ABSENT),
        "suspended_s": (parts.seconds, ABSENT),
        "measured_share": (optional(number(0, 1 + 1e-6)), ABSENT),
        "attempts": (list_of(parts.attempt, least=1), ABSENT),
        "missing": (list_of(lambda value: {each: _missing(value)[each] for each in _MISSING}), ABSENT),
        "host": (optional(text), ABSENT),
        "plug": (optional(_whole_plug), ABSENT),
        "footprint": (parts.footprint, ABSENT),
        "site": (parts.site, ABSENT),
        "samples": (optional(count()), ABSENT),
        "sample_j": (optional(parts.joules), ABSENT),
        "lifetime": (optional(_whole_life), ABSENT),
        "sampler_cpu_s": (parts.seconds, ABSENT),
        "about": (_about, ABSENT),
        "projection": (optional(projection), ABSENT),
        "processes": (_processes, ABSENT),
        "shards": (list_of(parts.rank_record, least=1), ABSENT),
        "written": (_written, ABSENT),
    },
)


def _consistent(made: dict[str, Any]) -> dict[str, Any]:
    """Check what no single field shows: parts that are written together, and a total that is the sum of its phases."""
    whole = {"footprint", "site", "about", "measured_share", "missing", "samples"}
    if "footprint" in made and not whole <= made.keys():
        raise DamagedError(f"the field {min(whole - made.keys())}, which is missing")
    phases_j = sum(sum(span["joules"].values()) for span in made["phases"].values())
    if abs(phases_j - made["total_j"]) > 1 + 0.01 * made["total_j"]:
        given = f"{made['total_j']:g}, while its phases add up to {phases_j:g}"
        raise DamagedError(f"total_j is the sum of its phases; it is {given}")
    return made


_checked = also(_summary, ordered("total_kwh_low", "total_kwh", "total_kwh_high"), _consistent)


def summary(value: Any) -> dict[str, Any]:
    """Return a checked summary.

    Raises:
        DamagedError: if it is no summary, is damaged, or was written by a newer version in another form.
    """
    if not isinstance(value, Mapping) or not set(_OURS) <= value.keys():
        raise DamagedError(f"a summary of trainwatt with {', '.join(_OURS)}", value)
    schema = value.get("schema", 0)
    if isinstance(schema, int) and schema > SCHEMA:
        written = value.get("about")
        by = written.get("trainwatt") if isinstance(written, Mapping) else None
        by = f" {by}" if isinstance(by, str) else ""
        raise DamagedError(
            f"schema {SCHEMA} or older: it was written by a newer trainwatt{by}; please update this one", schema
        ).within("schema")
    made: dict[str, Any] = _checked(value)
    return made
