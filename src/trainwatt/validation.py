"""Argument checks that several modules share."""

from __future__ import annotations

import math
import operator
from typing import Any

from trainwatt.errors import ArgumentError


def positive(argument: str, value: float, expected: str) -> float:
    """Return the value as a float if it is finite and above 0.

    Raises:
        ArgumentError: if it is anything else.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ArgumentError(argument, value, expected)
    return float(value)


def whole_number(argument: str, value: Any, expected: str = "a whole number") -> int:
    """Return the value as a plain int, also that of another library's integer.

    Raises:
        ArgumentError: if it is anything else.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(argument, value, expected) from None


def calibration(idle_w: float | None, full_w: float | None) -> None:
    """Check the watts with which a user calibrates the estimate of a CPU.

    Raises:
        ArgumentError: if a value is not positive, or the idle value exceeds the full-load value.
    """
    for name, watts in (("idle_w", idle_w), ("full_w", full_w)):
        if watts is not None:
            positive(name, watts, "a positive number of watts")
    if idle_w is not None and full_w is not None and idle_w > full_w:
        raise ArgumentError("idle_w", idle_w, f"at most full_w={full_w}")
