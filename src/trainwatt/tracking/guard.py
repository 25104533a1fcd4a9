"""Guards of the training: methods that never raise, copies that are idle, and a session that does nothing."""

from __future__ import annotations

import copy
import functools
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from trainwatt.accounting.timeline import Phase
from trainwatt.projection.plan import Plan
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.signals.deferral import hold, is_from_handler, release

P = ParamSpec("P")
R = TypeVar("R")


class _GivesUp(Protocol):
    def give_up(self) -> None: ...


S = TypeVar("S", bound=_GivesUp)


def never_raises(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R | None]:
    """Make a method that never raises: a failure is logged once, by ``give_up``, and measuring ends.

    It is the last resort. What can fail by itself is contained where it is called. Signal handlers, which may raise
    anywhere, are called when the outermost such method has ended.
    """
    brief = never_raises_briefly(method)

    @functools.wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        held = hold()
        try:
            return brief(self, *args, **kwargs)
        finally:
            release(held)

    return wrapper


def never_raises_briefly(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R | None]:
    """Make a method that never raises, except what a signal handler raises in it.

    For methods that are so short that to defer the handlers would take as long: an interrupt loses a mark at most.
    """

    @functools.wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # whatever it is, it is ours, not the training's
            if is_from_handler(error):
                raise
            self.give_up()
            return None

    return wrapper


class IdleCopies:
    """Base of objects that may be pickled and copied at any time: a copy has the settings, and nothing is running.

    A framework pickles and copies its callbacks when it likes: for processes that it starts, into checkpoints, for
    tuners. What belongs to the running training, such as threads, locks, files and the framework's own objects, stays
    with the original.
    """

    def _idle(self) -> dict[str, Any]:
        """Return the attributes of a copy that differ from those of the original."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of a copy."""
        return {**vars(self), **self._idle()}


def travels(value: object) -> bool:
    """Return True if an object of the user's can be pickled, here or by cloudpickle if the program uses that."""
    picklers = [pickle, *(sys.modules[name] for name in ("cloudpickle",) if name in sys.modules)]
    return any(_is_taken(pickler.dumps, value) for pickler in picklers)


def copied(value: Any, memo: dict[int, Any]) -> Any:
    """Return a deep copy of an object of the user's, or the object itself if it cannot be copied."""
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001  # a copy of the user's may raise anything
        return value


def _is_taken(dump: Callable[[Any], object], value: object) -> bool:
    try:
        dump(value)
    except Exception:  # noqa: BLE001  # a class of the user's may raise anything
        return False
    return True


class NullSession:
    """A session that measures nothing: the methods of :class:`trainwatt.tracking.session.Session`, to no effect.

    Args:
        final: snapshot of a run that could not begin; None if there is no run.
    """

    folder = None
    running = False

    def __init__(self, final: RunSnapshot | None = None) -> None:
        self._final = final

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy is: no copy of a session measures."""
        return nothing, ()

    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """Do nothing."""

    def end(self, phase: Phase) -> None:
        """Do nothing."""

    def begin_part(self, name: str) -> None:
        """Do nothing."""

    def end_part(self, label: str | None) -> None:
        """Do nothing."""

    def step(self, count: int = 1) -> None:
        """Do nothing."""

    def batch(self, count: int = 1) -> None:
        """Do nothing."""

    def plan(self, plan: Plan, *, from_now: bool = False) -> None:
        """Do nothing."""

    def count(self, samples: int | None) -> None:
        """Do nothing."""

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Do nothing."""

    def note(self, note: object) -> None:
        """Do nothing."""

    def score(self, name: object, value: object) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""

    def state(self) -> None:
        """Return nothing."""

    def merge(self, states: Iterable[object]) -> None:
        """Do nothing."""

    def poll_folders(self, *, last: bool = False) -> None:
        """Do nothing."""

    def end_epoch(self) -> RunSnapshot | None:
        """Return no snapshot."""
        return None

    def wait_until_settled(self) -> None:
        """Do nothing."""

    def snapshot(self) -> RunSnapshot | None:
        """Return no snapshot."""
        return None

    def step_snapshot(self) -> RunSnapshot | None:
        """Return no snapshot."""
        return None

    def summary(self) -> dict[str, Any]:
        """Return the summary of a run that could not begin; empty if there is no run."""
        return self._final.summary() if self._final else {}

    def finish(self, status: Status = "finished") -> RunSnapshot | None:  # noqa: ARG002  # as a session's
        """Return the snapshot of a run that could not begin; None if there is no run."""
        return self._final


NOTHING = NullSession()


def nothing() -> NullSession:
    """Return the session without a run."""
    return NOTHING
