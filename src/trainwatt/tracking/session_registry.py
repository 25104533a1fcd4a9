"""The running sessions of this process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Protocol

from trainwatt.power.device import Missing
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.signals import termination

_log = logging.getLogger("trainwatt")

# How long a thread that frees an owner waits for the end of its run. That takes as long as the counters' last refresh.
_END_S = 2.0


@dataclass(frozen=True, slots=True)
class Beginning:
    """Place in the program at which a run was begun, from which it can be seen that nobody is left to end it.

    Attributes:
        call: the framework's call that the run belongs to, such as ``fit``; None of a run that may outlive every call.
        caller: identity and code of the function that has begun the run.
        last_error: identity of the last error that had ended a cell or the program's interactive input by then.
    """

    call: FrameType | None
    caller: tuple[int, CodeType] | None
    last_error: int

    @classmethod
    def here(cls, call: FrameType | None) -> Beginning:
        """Return the present place.

        Args:
            call: see the attribute.
        """
        caller = next((each for each in _outwards(sys._getframe(1)) if not _is_ours(each)), None)  # noqa: SLF001
        return cls(call, None if caller is None else (id(caller), caller.f_code), id(_last_error()))

    @property
    def is_left(self) -> bool:
        """True if the call has ended, or an error that ended a notebook's cell has ended the function."""
        executing = {id(frame) for top in sys._current_frames().values() for frame in _outwards(top)}  # noqa: SLF001
        if self.call is not None:
            return id(self.call) not in executing
        error = _last_error()
        if error is None or id(error) == self.last_error or self.caller is None:
            return False
        return any(
            (id(frame), frame.f_code) == self.caller and id(frame) not in executing for frame in _frames_of(error)
        )


def _last_error() -> BaseException | None:
    """Return the error that has last reached the top of the program or of a notebook's cell."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) else None


def _frames_of(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0].startswith("trainwatt")


class Session(Protocol):
    """Session, as far as its process deals with it."""

    began_in: Beginning | None

    @property
    def name(self) -> str:
        """Name of the run."""
        ...

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


class CustomLoop(Protocol):
    """Tracker of a custom loop, as far as a green stopper in the same loop deals with it."""

    @property
    def running(self) -> bool:
        """True while a run is going on."""
        ...


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
# those that end because their owner is gone
_ending: set[Session] = set()
# each with the thread that started it, oldest first
_custom: list[tuple[weakref.ref[CustomLoop], int]] = []


def register(session: Session) -> None:
    """Register a session; it is ended with the process, if not before."""
    _sessions.add(session)
    termination.watch(finish_all, _flush_all)


def end_abandoned() -> None:
    """End the runs that nobody is left to end, before another one begins."""
    for session in list(_sessions):
        if session.began_in is not None and session.began_in.is_left:
            _end_abandoned(session)


def end_in_thread(session: Session) -> None:
    """End a run whose owner is being freed, which may happen anywhere: the locks of this thread must not matter."""
    _ending.add(session)
    thread = threading.Thread(target=_end_abandoned, args=(session,), name="trainwatt-end", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter ends
        _ending.discard(session)
        return
    thread.join(_END_S)


def _end_abandoned(session: Session) -> None:
    message = "trainwatt: the run %s was abandoned without an end; it ends here, as interrupted"
    _log.warning(message, session.name)
    session.finish("interrupted")
    _ending.discard(session)


def unregister(session: Session) -> None:
    """Remove a session that has ended."""
    _sessions.discard(session)
    if not _sessions:
        termination.unwatch()


def register_custom(tracker: CustomLoop) -> None:
    """Register the tracker of a custom loop, whose place a green stopper in the same loop takes."""
    _custom[:] = [
        (known, thread) for known, thread in _custom if (run := known()) and run.running and run is not tracker
    ]
    _custom.append((weakref.ref(tracker), threading.get_ident()))


def custom_run(own: CustomLoop) -> Any:
    """Return the tracker of the custom loop that is running in this thread, the latest; else the only one there is."""
    running = [(run, thread) for known, thread in list(_custom) if (run := known()) and run.running and run is not own]
    here = [run for run, thread in running if thread == threading.get_ident()]
    if here:
        return here[-1]
    return running[0][0] if len(running) == 1 else None


def missing_elsewhere(own: object) -> frozenset[Missing]:
    """Return the sources that cannot be read in the other running sessions of this process."""
    return frozenset(missing for session in list(_sessions) if session is not own for missing in session.missing)


@atexit.register
def finish_all() -> None:
    """End all sessions, so that a process that ends early still writes their totals."""
    for session in [*_sessions, *_ending]:
        session.finish("interrupted")


def _flush_all() -> None:
    for session in list(_sessions):
        session.flush()


def _forget_after_fork() -> None:
    """Forget the sessions in a forked child: they are its parent's."""
    _sessions.clear()
    _ending.clear()
    _custom.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
