"""What trainwatt raises."""

from __future__ import annotations


class ArgumentError(ValueError):
    """A bad argument, told before training starts.

    The message names the argument, what was given and what would be right.

    Args:
        argument: the name as the user typed it, e.g. ``"interval"``.
        given: the value that was given.
        expected: what would be right, e.g. ``"a positive number of seconds"``.
    """

    def __init__(self, argument: str, given: object, expected: str) -> None:
        super().__init__(f"{argument}={given!r}: expected {expected}")
        self.argument = argument
        self.given = given
        self.expected = expected


class SourceError(Exception):
    """A power source could not be read this time; a later read may succeed."""


class SourceLostError(SourceError):
    """A power source is gone for good, e.g. a GPU that has fallen off the bus.

    Args:
        message: what happened.
        missed_j: joules drawn since the source last told the truth, where another sensor tells.
    """

    def __init__(self, message: str, missed_j: float = 0.0) -> None:
        super().__init__(message)
        self.missed_j = missed_j
