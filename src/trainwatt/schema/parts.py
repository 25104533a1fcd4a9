"""Shapes of what summaries, events and checkpoints have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwatt.schema.shape import (
    ABSENT,
    DamagedError,
    Shape,
    also,
    count,
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

joules: Shape = number(0, what="a number of joules")
seconds: Shape = number(0, 1e11, what="a number of seconds")
"""Up to 3,000 years, which a calendar can hold."""
share: Shape = number(0, 1)
# A correlation of 1 may be written with a rounding error.
_ENDS = ("low", "central", "high")
_figure = record({each: number(0) for each in _ENDS})


def quantity(value: Any) -> dict[str, float]:
    """Return a figure with its range: ``low``, ``central`` and ``high``, and nothing else."""
    made = ordered(*_ENDS)(_figure(value))
    return {each: made[each] for each in _ENDS}


_FACTOR_TEXTS = ("year", "basis", "note")
_factor = record(
    {
        "name": text,
        "value": number(-1e12, 1e12),
        "low": number(-1e12, 1e12),
        "high": number(-1e12, 1e12),
        "unit": text,
        "source": text,
    },
    dict.fromkeys(_FACTOR_TEXTS, (text, "")),
)
_FACTOR = ("name", "value", "low", "high", "unit", "source", *_FACTOR_TEXTS)


def factor(value: Any) -> dict[str, Any]:
    """Return a conversion factor with its range and source, and no other field."""
    made = ordered("low", "value", "high")(_factor(value))
    if made["low"] < 0:
        raise DamagedError("a number of at least 0", made["low"]).within("low")
    return {each: made[each] for each in _FACTOR}


def known_joules(value: Any) -> dict[str, float]:
    """Return joules by device id; a figure that is null, because it was no number, is left out with its reason."""
    if not isinstance(value, Mapping):
        raise DamagedError("an object", value)
    unknown = {each for each, figure in value.items() if figure is None}
    reasons = {f"{each}_why" for each in unknown}
    made: dict[str, float] = table_of(joules)(
        {each: figure for each, figure in value.items() if each not in unknown and each not in reasons}
    )
    return made


_span = {"seconds": seconds, "joules": known_joules, "entries": count(), "steps": count()}
span: Shape = record(_span, {"labels": (table_of(record(_span)), ABSENT)})

_KIND = one_of("gpu", "cpu", "ram")
_error_limit = number(0, 1e9)
device: Shape = record(
    {
        "id": name,
        "kind": _KIND,
        "name": text,
        "method": one_of("measured", "estimated", "not counted"),
        "source": text,
    },
    {
        "low": (number(0, 1), 1.0),
        "high": (number(1, 1e9), 1.0),
        "share": (optional(share), ABSENT),
        "covers": (list_of(_KIND), ABSENT),
        "note": (text, ABSENT),
        "cause": (text, ABSENT),
        "common": (share, ABSENT),
        "max_w": (optional(number(0)), ABSENT),
    },
)

_POSSIBLE = ("plug_kwh", "cost", "market_kg", "embodied_kg")
_NEEDED = ("facility_kwh", "co2e_kg", "water_l")
_figures = dict.fromkeys(_NEEDED, quantity)
_more_figures: dict[str, tuple[Shape, Any]] = {each: (optional(quantity), None) for each in _POSSIBLE}
_currency: tuple[Shape, Any] = (optional(text), None)
attempt_figures: Shape = record({"energy_kwh": quantity, **_figures}, {**_more_figures, "currency": _currency})
"""Footprint of one attempt, without factors."""
footprint: Shape = record(
    _figures,
    {
        **_more_figures,
        "currency": _currency,
        "factors": (list_of(factor), ()),
        "derivation": (table_of(list_of(text)), {}),
    },
)

attempt_place: Shape = record(
    {"zone": text, "name": text, "cloud": optional(text), "origin": text, "carbon_intensity": number(0, 1e12)},
    {"currency": (optional(text), ""), "pue": (number(0, 1e12), ABSENT)},
)


def _began(value: Any) -> str:
    """Return when an attempt began; empty if an earlier version did not know."""
    return "" if value == "" else moment(value)


attempt: Shape = record(
    {"run": text, "began": _began, "status": name, "seconds": seconds, "total_j": joules},
    {
        "lost_j": (joules, 0.0),
        "id": (text, ABSENT),
        "parent": (text, ABSENT),
        "phases": (table_of(span), ABSENT),
        "footprint": (optional(attempt_figures), ABSENT),
        "site": (optional(attempt_place), ABSENT),
        "note": (text, ABSENT),
    },
)

_site_factors = record(
    {"carbon_intensity": factor, "pue": factor, "wue": factor, "ewif": factor},
    {each: (optional(factor), None) for each in ("price", "market_intensity", "plug")},
)
_live = record({"provider": text, "share": share}, {"problem": (text, "")})
site: Shape = record(
    {"zone": name, "name": text, "cloud": optional(text), "origin": text, "factors": _site_factors},
    {"currency": (optional(text), ""), "live": (optional(_live), None)},
)

_when = number(0, 2e11, what="a number of seconds since 1970")
# Of a slice: what is known of the time before may be corrected downwards in it.
_difference = number(what="a number of joules")


def _packed(value: Any, size: int, depth: int = 1, energy: Shape = joules) -> Any:
    """Check the spans of a rank record: seconds, entries, steps, joules in the order of the devices, then parts."""
    if not isinstance(value, Mapping):
        raise DamagedError("an object", value)
    for phase, figures in value.items():
        if not isinstance(figures, (list, tuple)) or not 0 <= len(figures) - 3 - size <= depth:
            raise DamagedError(f"a list of {3 + size} figures", figures).within(str(phase))
        seconds(figures[0])
        for figure in figures[1:3]:
            count()(figure)
        for figure in figures[3 : 3 + size]:
            energy(figure)
        if len(figures) > 3 + size:
            _packed(figures[-1], size, 0, energy)
    return value


def _unpackable(made: dict[str, Any]) -> dict[str, Any]:
    size = len(made["order"])
    _packed(made["phases"], size)
    until_s = made["from_s"]
    for index, each in enumerate(made["slices"]):
        if not isinstance(each, (list, tuple)) or len(each) != 3:
            raise DamagedError("two times and the figures between them", each).within(index).within("slices")
        if not until_s - 1 <= _when(each[0]) <= _when(each[1]):
            raise DamagedError("times that do not fall", each).within(index).within("slices")
        until_s = each[1]
        _packed(each[2], size, energy=_difference)
    return made


rank_record: Shape = also(
    record(
        {
            "id": name,
            "rank": count(10**7),
            "count": count(10**7),
            "from_s": _when,
            "to_s": _when,
            "order": list_of(text),
            "phases": table_of(lambda value: value),
            "slices": list_of(lambda value: value),
            "devices": list_of(device),
        },
        {
            "epochs": (count(), ABSENT),
            "status": (name, ABSENT),
            "gaps_s": (table_of(seconds), ABSENT),
            "notes": (table_of(text), ABSENT),
            "sampler_cpu_s": (seconds, ABSENT),
        },
    ),
    ordered("from_s", "to_s"),
    _unpackable,
)
