"""Containment of failures: what fails costs itself and one warning, and the training never notices."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from trainwatt.masking import masked
from trainwatt.signals.deferral import is_from_handler

T = TypeVar("T")

_log = logging.getLogger("trainwatt")


class Failures:
    """Failures of one run, of which the first of each kind is logged."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def failed(self, kind: str, consequence: str = "everything else goes on") -> None:
        """Log the exception that is being handled, unless one of this kind was logged before.

        Args:
            kind: the part that failed, in a few words, e.g. ``"the projection"``.
            consequence: the loss, as the rest of a sentence.

        Raises:
            BaseException: the one that is being handled, if a signal handler of the user's has raised it in our code.
        """
        error = sys.exc_info()[1]
        if error is not None and is_from_handler(error):
            raise error
        if kind not in self._known:
            self._known.add(kind)
            _log.warning("trainwatt: %s failed (%s); %s", kind, error_text(error), consequence)
        # For a bug report.
        _log.debug("trainwatt: %s failed", kind, exc_info=error)

    def warn(self, kind: str, message: str) -> None:
        """Log a warning, unless one of this kind was logged before.

        Args:
            kind: its kind.
            message: the warning, without the package's name.
        """
        if kind not in self._known:
            self._known.add(kind)
            _log.warning("trainwatt: %s", message)

    def contained(self, kind: str, consequence: str = "everything else goes on") -> Contained:
        """Return a block whose exceptions end at its end; see :meth:`failed`."""
        return Contained(self, kind, consequence)

    def result(self, kind: str, make: Callable[[], T], default: T, consequence: str = "everything else goes on") -> T:
        """Call a function that may fail, and return its result, or a default; see :meth:`failed`."""
        try:
            return make()
        except Exception:  # noqa: BLE001  # this is the boundary
            self.failed(kind, consequence)
            return default


class Contained:
    """Block whose exceptions are logged and end there.

    Args:
        failures: those of the run.
        kind, consequence: see :meth:`Failures.failed`.
    """

    def __init__(self, failures: Failures, kind: str, consequence: str) -> None:
        self._failures, self._kind, self._consequence = failures, kind, consequence

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._failures.failed(self._kind, self._consequence)
        return True


def error_text(error: BaseException | None) -> str:
    """Return an exception in one line, even if its own text cannot be made."""
    if error is None:
        return "unknown error"
    return masked(" ".join("".join(traceback.format_exception_only(type(error), error)).split()))


def _handle(record: logging.LogRecord) -> None:
    """Handle a record of our logger: a handler or a filter of the user's that raises must not reach the training."""
    with contextlib.suppress(Exception):
        logging.Logger.handle(_log, record)


# Every module of the package logs through this logger.
_log.handle = _handle  # type: ignore[method-assign]
