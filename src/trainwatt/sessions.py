"""The sessions that are going on in this process."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from trainwatt import ending
from trainwatt.report import Report, Status


class Session(Protocol):
    """A session, as far as the process as a whole deals with it."""

    def report(self) -> Report | None:
        """The run so far."""
        ...

    def note(self, event: Mapping[str, Any]) -> None:
        """Put something into the run folder."""
        ...

    def flush(self) -> None:
        """Write what is known now."""
        ...

    def finish(self, status: Status) -> Report | None:
        """End the run."""
        ...


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def enter(session: Session) -> None:
    """A session begins; it is ended with the process, if not before."""
    _sessions.add(session)
    ending.watch(finish_all, _flush_all)


def leave(session: Session) -> None:
    """A session has ended."""
    _sessions.discard(session)
    if not _sessions:
        ending.unwatch()


def beside(own: object) -> Report | None:
    """The report of another run that is going on in this process, where there is one."""
    return next((session.report() for session in list(_sessions) if session is not own), None)


def tell(event: Mapping[str, Any]) -> None:
    """Put something into the folders of all runs that are going on in this process."""
    for session in list(_sessions):
        session.note(event)


@atexit.register
def finish_all() -> None:
    """A process that ends without telling its runs still leaves their totals."""
    for session in list(_sessions):
        session.finish("interrupted")


def _flush_all() -> None:
    for session in list(_sessions):
        session.flush()
