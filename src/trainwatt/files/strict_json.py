"""JSON as RFC 8259 has it: no NaN, no infinities, and no value on which writing fails."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from trainwatt.containment import error_text

# Deeper than anything that a person writes, and far from the limits of JSON readers.
_DEEPEST = 32
# Python refuses to print longer integers, and no reader takes them.
_LONGEST_BITS = 1024
# Key of the reasons in the outermost object.
PROBLEMS = "problems"


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return a value as strict JSON. It never raises, whatever the value holds.

    A number that JSON lacks becomes null, and so does a value that cannot be converted. The outermost object then says
    why: ``{"loss": null, "problems": {"loss": "nan"}}``. Scalars of other libraries become numbers, other objects their
    text.

    Args:
        value: mappings, sequences, numbers, texts.
        indent: spaces per level; None: all on one line.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except Exception:  # noqa: BLE001  # a value of the user's may raise anything
        converted = PlainJson()
        made = converted.of("", value)
        made = converted.with_problems(made) if isinstance(made, dict) else made
        return json.dumps(made, indent=indent, allow_nan=False)


class PlainJson:
    """Conversion of values to plain JSON, with the reasons for those that are none.

    Attributes:
        problems: why a value is null, by its path, such as ``data.losses.3``.
    """

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self._open: list[int] = []

    def with_problems(self, made: dict[str, Any]) -> dict[str, Any]:
        """Return a converted object with its problems in it, if there are any."""
        if not self.problems:
            return made
        before = made.get(PROBLEMS)
        return {**made, PROBLEMS: {**(before if isinstance(before, dict) else {}), **self.problems}}

    def of(self, path: str, value: object) -> Any:
        """Return a value as plain JSON; null if that cannot be made."""
        try:
            if value is None or isinstance(value, bool):
                return value
            if isinstance(value, str):
                return str.__str__(value)
            if isinstance(value, (Mapping, list, tuple, set, frozenset)):
                return self._nested(path, value)
            return self._scalar(path, value)
        except Exception as error:  # noqa: BLE001  # a value of the user's may raise anything
            return self._none(path, error_text(error))

    def text(self, path: str, value: object) -> str:
        """Return a value as text."""
        made = self.of(path, value)
        return made if isinstance(made, str) else str(made)

    def number(self, path: str, value: object) -> float | int | None:
        """Return a value as a finite number; null if it is none."""
        try:
            if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
                return int(value)
            number = float(value)  # type: ignore[arg-type]  # any kind of scalar
        except Exception as error:  # noqa: BLE001  # a value of the user's may raise anything
            self.problems[path] = error_text(error)
            return None
        if math.isfinite(number):
            return number
        self.problems[path] = str(number)
        return None

    def _none(self, path: str, why: str) -> Any:
        """Remember why a value is null, and return it."""
        self.problems[path] = why
        return None

    def _nested(self, path: str, value: Mapping[Any, Any] | Iterable[Any]) -> Any:
        if id(value) in self._open:
            return self._none(path, "it contains itself")
        if len(self._open) >= _DEEPEST:
            return self._none(path, f"it is nested more than {_DEEPEST} deep")
        self._open.append(id(value))
        within = f"{path}." if path else ""
        try:
            # Copied first, because another thread may change it.
            if not isinstance(value, Mapping):
                return [self.of(f"{within}{number}", each) for number, each in enumerate(tuple(value))]
            keyed = [(self._key(path, key), each) for key, each in tuple(value.items())]
            return {key: self.of(f"{within}{key}", each) for key, each in keyed}
        finally:
            self._open.pop()

    def _key(self, path: str, key: object) -> str:
        if isinstance(key, str):
            return str.__str__(key)
        try:
            return str(key)
        except Exception as error:  # noqa: BLE001  # a key of the user's may raise anything
            self._none(path, f"a key without a text: {error_text(error)}")
            return type(key).__name__

    def _scalar(self, path: str, value: object) -> Any:
        if isinstance(value, int):
            return int(value) if value.bit_length() <= _LONGEST_BITS else self._none(path, "its digits are too many")
        try:
            number = float(value)  # type: ignore[arg-type]  # a scalar of another library
        except Exception:  # noqa: BLE001  # a tensor of many elements raises what it likes
            return str(value)
        return number if math.isfinite(number) else self._none(path, str(number))
