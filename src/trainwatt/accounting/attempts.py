"""Attempts of a resumed training run: energy of earlier attempts, and the lost work that is repeated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.power.device import Device

T = TypeVar("T")

# Fields of a summary that a checkpoint needs.
_STATE = ("run", "status", "total_j", "phases", "devices", "attempts")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a training run that was resumed from checkpoints.

    Attributes:
        run: name of the run.
        began: start time, ISO 8601.
        status: final status.
        seconds: duration.
        total_j: joules of all devices.
        lost_j: lost work, included in ``total_j``: joules after the checkpoint from which the next attempt resumed.
    """

    run: str
    began: str
    status: str
    seconds: float
    total_j: float
    lost_j: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PriorAttempts:
    """All attempts before the current one.

    Attributes:
        phases: energy, time and steps by phase.
        devices: the devices that drew the energy.
        attempts: the attempts, oldest first.
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
        """Duration of all of them."""
        return sum(span.seconds for span in self.phases.values())


def checkpoint_state(summary: Mapping[str, Any], folder: str | None) -> dict[str, Any]:
    """Return the state of a run for a checkpoint: plain numbers, strings, lists and dictionaries.

    Args:
        summary: summary of the run so far, as in ``summary.json``.
        folder: its run folder, where the rest can be found.
    """
    return {"folder": folder, **{name: summary[name] for name in _STATE}}


def prior_attempts(state: Mapping[str, Any], found: Mapping[str, Any] | None = None) -> PriorAttempts:
    """Return the attempts before a training run is resumed from a checkpoint.

    Args:
        state: state from the checkpoint, or the ``summary.json`` of a run that ended.
        found: the ``summary.json`` of the checkpoint's own run, if it can be read. That run may have continued after
            the checkpoint. Its later energy is lost work, unless it finished: then the resumed run is a branch of it.
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
    """Construct an object from a state, ignoring fields that another version may have written."""
    return kind(**{name: value for name, value in state.items() if name in inspect.signature(kind).parameters})
