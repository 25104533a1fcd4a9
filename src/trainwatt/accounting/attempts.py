"""A training in several attempts: what was spent before this one, and what of it has to be made again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.power.device import Device

T = TypeVar("T")

_STATE = ("run", "status", "total_j", "phases", "devices", "attempts")  # of a summary, what a checkpoint needs


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the runs in which a training was made.

    Attributes:
        run: its name.
        began: when, in ISO 8601.
        status: how it ended.
        seconds: how long it took.
        total_j: joules of all devices.
        lost_j: of these, what came after the checkpoint from which the next attempt went on, and was made again.
    """

    run: str
    began: str
    status: str
    seconds: float
    total_j: float
    lost_j: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PriorAttempts:
    """All attempts before the one that is going on.

    Attributes:
        phases: what they took, by phase.
        devices: what drew it.
        attempts: each of them, oldest first.
    """

    phases: Mapping[Phase, Span] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @property
    def total_j(self) -> float:
        """Joules of all of them."""
        return sum(span.total_j for span in self.phases.values())

    @property
    def seconds(self) -> float:
        """How long they took."""
        return sum(span.seconds for span in self.phases.values())


def checkpoint_state(summary: Mapping[str, Any], folder: str | None) -> dict[str, Any]:
    """What a checkpoint must hold of a run: plain numbers, text, lists and dictionaries.

    Args:
        summary: of the run up to now, as in ``summary.json``.
        folder: of the run, where the rest of it can be found.
    """
    return {"folder": folder, **{name: summary[name] for name in _STATE}}


def prior_attempts(state: Mapping[str, Any], found: Mapping[str, Any] | None = None) -> PriorAttempts:
    """What was spent before a training goes on from a checkpoint.

    Args:
        state: what the checkpoint holds, or the ``summary.json`` of a run that ended.
        found: the ``summary.json`` of the checkpoint's own run, where it can be read: that run may have gone on. What
            it has spent since is lost work, unless it came to its end, and so this training is a branch of it.
    """
    whole = state
    again = found is not None and _steps(found) > _steps(state)
    if found is not None and found["run"] == state["run"] and not (again and found["status"] == "finished"):
        whole = found
    attempts = [_made(Attempt, attempt) for attempt in whole["attempts"]]
    if again and whole is found and attempts:
        attempts[-1] = replace(attempts[-1], lost_j=max(0.0, whole["total_j"] - state["total_j"]))
    return PriorAttempts(
        {phase: Span.from_dict(span) for phase, span in whole["phases"].items()},
        tuple(_made(Device, device) for device in whole["devices"]),
        tuple(attempts),
    )


def _steps(state: Mapping[str, Any]) -> int:
    return int(state["phases"].get("train", {}).get("steps", 0))


def _made(kind: Callable[..., T], state: Mapping[str, Any]) -> T:
    """Of what was written, perhaps by another version, what is known."""
    return kind(**{name: value for name, value in state.items() if name in inspect.signature(kind).parameters})
