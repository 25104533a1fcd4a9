"""What stands in a session's place while nothing is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trainwatt.accounting.timeline import Phase
from trainwatt.projection.plan import Plan
from trainwatt.records.snapshot import RunSnapshot, Status


class NullSession:
    """A session that measures nothing: the methods of :class:`trainwatt.tracking.session.Session`, to no effect."""

    folder = None
    running = False

    def begin(self, phase: Phase, *, epoch: int | None = None) -> None:
        """Do nothing."""

    def end(self, phase: Phase) -> None:
        """Do nothing."""

    def step(self, count: int = 1) -> None:
        """Do nothing."""

    def batch(self, count: int = 1) -> None:
        """Do nothing."""

    def plan(self, plan: Plan) -> None:
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
