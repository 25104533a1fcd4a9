"""Exceptions of trainwatt."""

from __future__ import annotations

from trainwatt.masking import hides, masked, shown


class ArgumentError(ValueError):
    """A bad argument, found before training starts.

    The message names the argument, the given value and the expected one. A value that may be a secret, such as a token
    in place of a name, is hidden.

    Args:
        argument: the name as the user typed it, e.g. ``"interval"``.
        given: the given value.
        expected: a description of valid values, e.g. ``"a positive number of seconds"``.
    """

    def __init__(self, argument: str, given: object, expected: str) -> None:
        secrets = (given,) if isinstance(given, str) and hides(argument, given) else ()
        super().__init__(f"{masked(argument)}={shown(argument, given)}: expected {masked(expected, secrets)}")
        self.argument = argument
        self.given = given
        self.expected = expected


class SourceError(Exception):
    """A failed read of a power source; a later read may succeed.

    Args:
        message: the reason.
        since_s: begin of the failure on the monotonic clock, if that was before the read; None: the time of the read.
    """

    def __init__(self, message: str = "", *, since_s: float | None = None) -> None:
        super().__init__(message)
        self.since_s = since_s


class SourceLostError(SourceError):
    """A power source that is permanently gone, e.g. a GPU that has fallen off the bus.

    Args:
        message: the reason.
        missed_j: joules drawn since the last valid reading, if another sensor measured them.
    """

    def __init__(self, message: str, missed_j: float = 0.0) -> None:
        super().__init__(message)
        self.missed_j = missed_j
