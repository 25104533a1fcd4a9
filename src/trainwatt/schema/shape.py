"""Shapes of JSON values: each checks a value, and returns it in the form that its readers rely on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

Shape = Callable[[Any], Any]
"""Function that returns a checked value, or raises :class:`DamagedError`."""

# No run draws more: 1e18 J are a terawatt for eleven days. Sums and squares of such figures stay finite.
MOST = 1e18
# Below, a reciprocal of a figure may be infinite.
_LEAST = 1e-30
# The deepest that we write, with some room.
DEEPEST = 110
_LONGEST_SHOWN = 60
_YEARS = range(1970, 9999)


class DamagedError(ValueError):
    """A value that is not what its place asks for.

    Args:
        expected: description of valid values, e.g. ``a number of at least 0``.
        given: the value; left out of the message if it is not given.
    """

    _UNKNOWN = object()

    def __init__(self, expected: str, given: object = _UNKNOWN) -> None:
        super().__init__(expected)
        self.expected, self.given = expected, given
        self._path: list[str | int] = []

    def within(self, name: str | int) -> DamagedError:
        """Add the name of the field, or the index of the item, that holds the value so far described."""
        self._path.insert(0, name)
        return self

    def __str__(self) -> str:
        where = "".join(f"[{each}]" if isinstance(each, int) else f".{each[:_LONGEST_SHOWN]}" for each in self._path)
        given = "" if self.given is self._UNKNOWN else f" is {brief_text(self.given)}"
        return f"{where.lstrip('.') or 'the whole'}{given}: expected {self.expected}"


def brief_text(value: object) -> str:
    """Describe a value in a few characters, whatever it is."""
    if isinstance(value, (dict, list, tuple)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST:
        # Python converts integers of up to 4,300 digits only.
        return "a huge integer"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001
        # A state may hold any object.
        text = type(value).__name__
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def number(low: float = -MOST, high: float = MOST, what: str = "a number") -> Shape:
    """Return the shape of a finite number between two limits."""
    ends = f" from {low:g} to {high:g}" if high < MOST else f" of at least {low:g}" if low > -MOST else ""
    expected = what + ends

    def check(value: Any) -> float:
        figure = value if isinstance(value, (int, float)) else _scalar(value)
        if figure is None or isinstance(figure, bool) or not low <= figure <= high:
            raise DamagedError(expected, value)
        # A float must stay one, and an integer too: both are written back as they were.
        return figure if figure == 0 or abs(figure) >= _LEAST else 0.0

    return check


def _scalar(value: Any) -> float | None:
    """Return a number of another library as a float; None if it is none."""
    try:
        return float(value) if hasattr(type(value), "__float__") else None
    except Exception:  # noqa: BLE001
        # A tensor of many elements raises what it likes.
        return None


def count(high: int = 10**15) -> Shape:
    """Return the shape of a whole number of at least 0; a float without a fraction is one."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high or value % 1:
            raise DamagedError("a whole number of at least 0", value)
        return int(value)

    return check


def integer(value: Any) -> int:
    """Return a whole number of at most 15 digits, which may be negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15 or value % 1:
        raise DamagedError("a whole number", value)
    return int(value)


def flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise DamagedError("true or false", value)
    return value


def text(value: Any) -> str:
    """Return a text that can be encoded: halves of surrogate pairs are replaced."""
    if not isinstance(value, str):
        raise DamagedError("a text", value)
    return whole(value)


def whole(value: str) -> str:
    """Replace halves of surrogate pairs, which no encoding takes, by question marks."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def name(value: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise DamagedError("a text that is not empty", value)
    return whole(value)


def one_of(*values: str) -> Shape:
    """Return the shape of one of a few texts."""
    expected = f"one of {', '.join(values)}"

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise DamagedError(expected, value)
        return value

    return check


def moment(value: Any) -> str:
    """Return a time in ISO 8601 with its time zone."""
    try:
        valid = isinstance(value, str) and datetime.fromisoformat(value)
    except ValueError:
        valid = False
    if not valid or valid.tzinfo is None or valid.year not in _YEARS:
        raise DamagedError("a time such as 2026-11-25T08:49:46.000+00:00", value)
    return str(value)


def optional(shape: Shape) -> Shape:
    """Return the shape of a value that may be null, i.e. unknown."""
    return lambda value: None if value is None else shape(value)


def list_of(shape: Shape, *, least: int = 0) -> Shape:
    """Return the shape of a list of like values."""

    def check(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise DamagedError("a list", value)
        if len(value) < least:
            raise DamagedError(f"a list of at least {least}", value)
        return [_at(shape, each, index) for index, each in enumerate(value)]

    return check


def table_of(shape: Shape) -> Shape:
    """Return the shape of an object of like values by any name."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise DamagedError("an object", value)
        return {_key(each): _at(shape, inner, each) for each, inner in value.items()}

    return check


def record(required: Mapping[str, Shape], more: Mapping[str, tuple[Shape, Any]] | None = None) -> Shape:
    """Return the shape of an object with known fields.

    Fields that are not known, which another version may have written, are kept; those that are nested deeper than any
    of ours are left out.

    Args:
        required: shapes of the fields that must be there.
        more: shapes of further fields, each with the value that stands for a missing one; ``ABSENT`` leaves it out.
    """
    more = more or {}
    known = required.keys() | more.keys()

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise DamagedError("an object", value)
        made: dict[str, Any] = {}
        for field, inner in value.items():
            if field in known:
                made[field] = _at(required[field] if field in required else more[field][0], inner, field)
            elif isinstance(field, str) and is_shallow(inner):
                made[_key(field)] = encodable(inner)
        if missing := required.keys() - made.keys():
            raise DamagedError(f"the field {min(missing)}, which is missing")
        for field, (_, default) in more.items():
            if field not in made and default is not ABSENT:
                made[field] = default
        return made

    return check


ABSENT = object()
"""Default of a field that is left out if it is missing."""


def ordered(*fields: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a further check of a record: these of its fields do not fall, in this order."""

    def check(made: dict[str, Any]) -> dict[str, Any]:
        values = [made[field] for field in fields]
        if any(one > other for one, other in pairwise(values)):
            figures = ", ".join(f"{field} {brief_text(made[field])}" for field in fields)
            raise DamagedError(f"{' ≤ '.join(fields)}, not {figures}")
        return made

    return check


def also(shape: Shape, *checks: Callable[[Any], Any]) -> Shape:
    """Return a shape with further checks of what it has made."""

    def check(value: Any) -> Any:
        made = shape(value)
        for each in checks:
            made = each(made)
        return made

    return check


def is_shallow(value: Any, depth: int = DEEPEST) -> bool:
    """Return True if no value is nested deeper than a limit, which every recursion bears."""
    if isinstance(value, dict):
        return depth > 0 and all(is_shallow(each, depth - 1) for each in value.values())
    if isinstance(value, list):
        return depth > 0 and all(is_shallow(each, depth - 1) for each in value)
    return True


def encodable(value: Any) -> Any:
    """Return a JSON value of any form with texts that can be encoded, and null for what is no finite number."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {_key(field): encodable(each) for field, each in value.items()}
    if isinstance(value, list):
        return [encodable(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _key(value: object) -> str:
    return whole(value) if isinstance(value, str) else text(value)


def _at(shape: Shape, value: Any, where: object) -> Any:
    try:
        return shape(value)
    except DamagedError as error:
        raise error.within(where if isinstance(where, int) else str(where)) from None
