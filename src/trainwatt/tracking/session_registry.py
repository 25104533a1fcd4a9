"""The running sessions of this process."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from trainwatt.power.device import Missing
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.tracking import termination


class Session(Protocol):
    """Session, as far as its process deals with it."""

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Sources that cannot be read."""
        ...

    def snapshot(self) -> RunSnapshot | None:
        """Take a snapshot of the run so far."""
        ...

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Log an event to the run folder."""
        ...

    def flush(self) -> None:
        """Write what is known now."""
        ...

    def finish(self, status: Status) -> RunSnapshot | None:
        """End the run."""
        ...


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def register(session: Session) -> None:
    """Register a session; it is ended with the process, if not before."""
    _sessions.add(session)
    termination.watch(finish_all, _flush_all)


def unregister(session: Session) -> None:
    """Remove a session that has ended."""
    _sessions.discard(session)
    if not _sessions:
        termination.unwatch()


def concurrent_run(own: object) -> RunSnapshot | None:
    """Return a snapshot of another running session; None if there is none."""
    return next((session.snapshot() for session in list(_sessions) if session is not own), None)


def missing_elsewhere(own: object) -> frozenset[Missing]:
    """Return the sources that cannot be read in the other running sessions of this process."""
    return frozenset(missing for session in list(_sessions) if session is not own for missing in session.missing)


def log_to_all(event: Mapping[str, Any]) -> None:
    """Log an event to the run folders of all running sessions."""
    for session in list(_sessions):
        session.log_event(event)


@atexit.register
def finish_all() -> None:
    """End all sessions, so that a process that ends early still writes their totals."""
    for session in list(_sessions):
        session.finish("interrupted")


def _flush_all() -> None:
    for session in list(_sessions):
        session.flush()
