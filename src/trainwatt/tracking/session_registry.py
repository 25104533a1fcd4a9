"""The sessions that are going on in this process."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.tracking import termination


class Session(Protocol):
    """A session, as far as the process as a whole deals with it."""

    def snapshot(self) -> RunSnapshot | None:
        """The run so far."""
        ...

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Put something into the run folder."""
        ...

    def flush(self) -> None:
        """Write what is known now."""
        ...

    def finish(self, status: Status) -> RunSnapshot | None:
        """End the run."""
        ...


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def register(session: Session) -> None:
    """A session begins; it is ended with the process, if not before."""
    _sessions.add(session)
    termination.watch(finish_all, _flush_all)


def unregister(session: Session) -> None:
    """A session has ended."""
    _sessions.discard(session)
    if not _sessions:
        termination.unwatch()


def concurrent_run(own: object) -> RunSnapshot | None:
    """The report of another run that is going on in this process, where there is one."""
    return next((session.snapshot() for session in list(_sessions) if session is not own), None)


def log_to_all(event: Mapping[str, Any]) -> None:
    """Put something into the folders of all runs that are going on in this process."""
    for session in list(_sessions):
        session.log_event(event)


@atexit.register
def finish_all() -> None:
    """A process that ends without telling its runs still leaves their totals."""
    for session in list(_sessions):
        session.finish("interrupted")


def _flush_all() -> None:
    for session in list(_sessions):
        session.flush()
