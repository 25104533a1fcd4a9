"""Guards of the training: methods that never raise, and a session that does nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from trainwatt.accounting.timeline import Phase
from trainwatt.projection.plan import Plan
from trainwatt.records.snapshot import RunSnapshot, Status

P = ParamSpec("P")
R = TypeVar("R")


class _GivesUp(Protocol):
    def give_up(self) -> None: ...


S = TypeVar("S", bound=_GivesUp)


def never_raises(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R | None]:
    """Make a method that never raises: a failure is logged once, by ``give_up``, and measuring ends."""

    @functools.wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001  # whatever it is, it is ours, not the training's
            self.give_up()
            return None

    return wrapper


class NullSession:
    """A session that measures nothing: the methods of :class:`trainwatt.tracking.session.Session`, to no effect."""

    folder = None
    running = False

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
        """Return an empty summary."""
        return {}

    def finish(self, status: Status = "finished") -> RunSnapshot | None:  # noqa: ARG002  # as a session's
        """Return no snapshot."""
        return None
