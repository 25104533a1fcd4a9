"""What stands in a session's place while nothing is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trainwatt.plan import Plan
from trainwatt.report import Report, Status
from trainwatt.timeline import Phase


class NullSession:
    """A session that measures nothing. It has the methods of :class:`trainwatt.session.Session`, to no effect."""

    folder = None
    running = False

    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """Do nothing."""

    def end(self, phase: Phase) -> None:
        """Do nothing."""

    def step(self, count: int = 1) -> None:
        """Do nothing."""

    def beat(self, count: int = 1) -> None:
        """Do nothing."""

    def plan(self, plan: Plan) -> None:
        """Do nothing."""

    def count(self, samples: int | None) -> None:
        """Do nothing."""

    def note(self, event: Mapping[str, Any]) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""

    def tell(self) -> None:
        """Return nothing."""

    def hear(self, states: Iterable[object]) -> None:
        """Do nothing."""

    def look(self, *, last: bool = False) -> None:
        """Do nothing."""

    def end_epoch(self) -> Report | None:
        """Return no snapshot."""
        return None

    def settle(self) -> None:
        """Do nothing."""

    def report(self) -> Report | None:
        """Return no snapshot."""
        return None

    def step_report(self) -> Report | None:
        """Return no snapshot."""
        return None

    def summary(self) -> dict[str, Any]:
        """Return an empty summary."""
        return {}

    def finish(self, status: Status = "finished") -> Report | None:  # noqa: ARG002  # as a session's
        """Return no snapshot."""
        return None
