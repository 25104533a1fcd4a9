"""Attempts of a resumed training run: energy of earlier attempts, and the lost work that is repeated.

The attempts of a training form a tree: each has an identity, and resumes from a checkpoint of its parent. A checkpoint
holds the path from the root to it. Each attempt counts once, with the latest figures that are known of it, whatever
restores a checkpoint and how often. What lies on the path to the restored checkpoint is useful; everything else that
is known of the tree is lost work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from trainwatt.accounting.timeline import Phase, Span, total_of
from trainwatt.power.device import Device

# Fields of a summary that a checkpoint needs.
_STATE = ("run", "id", "training", "status", "total_j", "phases", "devices", "attempts")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a training run that was resumed from checkpoints.

    Attributes:
        run: name of the run.
        began: start time, ISO 8601.
        status: final status.
        seconds: duration.
        total_j: joules of all devices.
        lost_j: lost work, included in ``total_j``: joules that the training went back on, because it was resumed from
            an earlier checkpoint.
        id: unique identifier.
        parent: identifier of the attempt whose checkpoint it was resumed from; empty for the first one.
        phases: energy, time and steps by phase.
        footprint: figures of its energy, priced at the place and time at which it ran; None if unknown.
        site: its place; None if unknown.
        note: remark for the user, or an empty string.
    """

    run: str
    began: str
    status: str
    seconds: float
    total_j: float
    lost_j: float = 0.0
    id: str = ""
    parent: str = ""
    phases: Mapping[Phase, Span] = field(default_factory=dict)
    footprint: Mapping[str, Any] | None = None
    site: Mapping[str, Any] | None = None
    note: str = ""

    @property
    def steps(self) -> int:
        """Number of training steps."""
        return self.phases["train"].steps if "train" in self.phases else 0

    @property
    def joules(self) -> Mapping[str, float]:
        """Joules by device id."""
        return total_of(self.phases).joules

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        flat = {name: getattr(self, name) for name in _FIELDS}
        return flat | {"phases": {phase: span.to_dict() for phase, span in self.phases.items()}}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Attempt:
        """Restore an attempt from :meth:`to_dict`, ignoring fields that another version may have written."""
        known = {name: value for name, value in state.items() if name in _FIELDS}
        known["phases"] = {phase: Span.from_dict(span) for phase, span in known.get("phases", {}).items()}
        return cls(**{"id": identity_of(state), **known})


_FIELDS = tuple(each.name for each in fields(Attempt))


@dataclass(frozen=True)
class PriorAttempts:
    """All other attempts of the training that the current one continues.

    Attributes:
        attempts: the attempts, oldest first.
        devices: the devices that drew their energy.
        factors: the factors behind their footprints, as in a summary.
        training: identifier of the training: that of its first attempt; empty if none is known.
        parent: identifier of the attempt whose checkpoint the current one was resumed from.
    """

    attempts: tuple[Attempt, ...] = ()
    devices: tuple[Device, ...] = ()
    factors: tuple[Mapping[str, Any], ...] = ()
    training: str = ""
    parent: str = ""

    @cached_property
    def phases(self) -> Mapping[Phase, Span]:
        """Energy, time and steps by phase."""
        phases: dict[Phase, Span] = {}
        for attempt in self.attempts:
            for phase, span in attempt.phases.items():
                phases.setdefault(phase, Span()).add(span)
        return phases

    @property
    def total_j(self) -> float:
        """Joules of all of them."""
        return sum(span.total_j for span in self.phases.values())

    @property
    def ids(self) -> frozenset[str]:
        """Their identifiers."""
        return frozenset(attempt.id for attempt in self.attempts)


class Resumption(NamedTuple):
    """The state of a training after a checkpoint was restored.

    Attributes:
        prior: all other attempts.
        lost_j: lost work of the current attempt.
    """

    prior: PriorAttempts
    lost_j: float


def identity_of(state: Mapping[str, Any]) -> str:
    """Return the identifier of the run of a state, a summary or an attempt; versions before 0.2 wrote none."""
    return str(state.get("id") or f"{state['run']} {state.get('began', '')}")


def checkpoint_state(summary: Mapping[str, Any], folder: str | None) -> dict[str, Any]:
    """Return the state of a run for a checkpoint: plain numbers, strings, lists and dictionaries.

    Args:
        summary: summary of the run so far, as in ``summary.json``.
        folder: its run folder, where the rest can be found.
    """
    footprint = {"factors": summary["footprint"]["factors"]}
    return {"folder": folder, **{name: summary[name] for name in _STATE}, "footprint": footprint}


def attempts_of(state: Mapping[str, Any]) -> tuple[Attempt, ...]:
    """Return the attempts of a state or summary; its own run is last.

    A version before 0.2 wrote the phases of the whole only: each attempt gets them in proportion to its energy.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if it is not a valid state.
    """
    attempts = [Attempt.from_dict(each) for each in state["attempts"]]
    if all("id" in each for each in state["attempts"]):
        return tuple(attempts)
    whole = {phase: Span.from_dict(span) for phase, span in state["phases"].items()}
    total_j = sum(attempt.total_j for attempt in attempts)
    shares = [attempt.total_j / total_j for attempt in attempts] if total_j else [0.0] * (len(attempts) - 1) + [1.0]
    site = state.get("site")
    # That version has priced the whole at the place of its last attempt.
    figures = _older_figures(state) if site and state.get("footprint") else None
    return tuple(
        replace(
            attempt,
            phases={phase: _part(span, share, counted=each is state["attempts"][-1]) for phase, span in whole.items()},
            footprint=figures and {name: _scaled(value, share) for name, value in figures.items()},
            site=site,
        )
        for each, attempt, share in zip(state["attempts"], attempts, shares, strict=True)
    )


def devices_of(state: Mapping[str, Any]) -> tuple[Device, ...]:
    """Return the devices of a state or summary, each once."""
    return _unique(Device.from_dict(each) for each in state["devices"])


def factors_of(states: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the factors behind the footprints of some states or summaries, each once."""
    found: list[Mapping[str, Any]] = []
    for state in states:
        found += [each for each in (state.get("footprint") or {}).get("factors", ()) if each not in found]
    return tuple(found)


def latest(attempts: Iterable[Attempt]) -> Iterable[Attempt]:
    """Return each attempt once: the version that holds most; of two alike the later one."""
    by_id: dict[str, Attempt] = {}
    for attempt in attempts:
        if attempt.id not in by_id or attempt.total_j >= by_id[attempt.id].total_j:
            by_id[attempt.id] = attempt
    return by_id.values()


def training_of(state: Mapping[str, Any]) -> str:
    """Return the identifier of the training of a state: that of its first attempt."""
    return str(state.get("training") or identity_of(state["attempts"][0]))


def resume(
    state: Mapping[str, Any],
    own: Attempt,
    *,
    known: PriorAttempts | None = None,
    found: Sequence[Mapping[str, Any]] = (),
) -> Resumption | None:
    """Return the other attempts of a training, and the lost work of the current one, once a checkpoint is restored.

    A run that finished, or that was stopped on purpose, makes a branch: its work after the checkpoint, and the attempts
    that it was resumed from, are no lost work of another branch. Neither is a run that is still going on.

    Args:
        state: state from the checkpoint, or the ``summary.json`` of a run.
        own: the current attempt so far.
        known: the other attempts, if one of its checkpoints was restored before.
        found: summaries of the runs of this training whose folders can be read, that of the checkpoint included. The
            status of those whose process is gone is not ``running``.

    Returns:
        None if another training was resumed before.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if the state is not valid.
    """
    known = known or PriorAttempts()
    path = {attempt.id: attempt for attempt in attempts_of(state)}
    if known.attempts and not path.keys() & {own.id, *known.ids}:
        return None
    branches = _branches(path, found)
    sources = [each for each in found if identity_of(each) not in branches]
    others = [each for source in sources for each in attempts_of(source) if each.id not in branches]
    attempts = [each for each in latest((*known.attempts, *path.values(), *others)) if each.id != own.id]
    parent = next(reversed(path))
    prior = PriorAttempts(
        tuple(replace(each, lost_j=_lost_j(each, path)) for each in sorted(attempts, key=lambda each: each.began)),
        _unique((*known.devices, *(each for source in (state, *sources) for each in devices_of(source)))),
        factors_of([{"footprint": {"factors": known.factors}}, state, *sources]),
        known.training or training_of(state),
        known.parent or (parent if parent != own.id else ""),
    )
    # Before its first step, the current attempt has nothing to go back on.
    return Resumption(prior, _lost_j(own, path) if own.steps else 0.0)


def _branches(path: Mapping[str, Attempt], found: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the identifiers of the attempts that belong to other branches, which finished or are still going on.

    Args:
        path: the attempts of a checkpoint, as they were then.
        found: summaries of runs of the same training.
    """
    branches: set[str] = set()
    for summary in found:
        if summary["status"] not in ("finished", "stopped", "running"):
            continue
        *before, own = attempts_of(summary)
        if own.id not in path:
            branches |= {each.id for each in (*before, own)} - path.keys()
        elif summary["status"] == "running" or own.steps > path[own.id].steps:
            branches.add(own.id)
    return branches


def _lost_j(attempt: Attempt, path: Mapping[str, Attempt]) -> float:
    """Return the lost work of an attempt, if a training continues from the checkpoint of a path."""
    then = path.get(attempt.id, Attempt("", "", "", 0.0, 0.0))
    # What follows the last checkpoint of a run is not repeated if it contains no step.
    later_j = attempt.total_j - then.total_j if attempt.steps > then.steps or attempt.id not in path else 0.0
    return min(max(0.0, then.lost_j + later_j), attempt.total_j)


def _unique(devices: Iterable[Device]) -> tuple[Device, ...]:
    by_id: dict[str, Device] = {}
    for device in devices:
        by_id.setdefault(device.id, device)
    return tuple(by_id.values())


def _older_figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    ends = {"low": "total_kwh_low", "central": "total_kwh", "high": "total_kwh_high"}
    return {"energy_kwh": {end: summary[name] for end, name in ends.items()}, **summary["footprint"]}


def _part(span: Span, share: float, *, counted: bool) -> Span:
    """Return a share of a span; its entries and steps, which cannot be split, only if it is counted."""
    joules = {device: value * share for device, value in span.joules.items()}
    return Span(span.seconds * share, joules, *((span.entries, span.steps) if counted else (0, 0)))


def _scaled(figure: Any, share: float) -> Any:
    """Scale a figure with its range; anything else stays as it is."""
    if not isinstance(figure, Mapping) or "central" not in figure:
        return figure
    return {name: value * share for name, value in figure.items()}
