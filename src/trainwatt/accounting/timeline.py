"""Energy, time and steps of every phase of every epoch; raw figures only, nothing derived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

Phase = Literal["setup", "sanity_check", "train", "validate", "test", "predict", "checkpoint", "other"]

PHASES: tuple[Phase, ...] = get_args(Phase)
INFERENCE: tuple[Phase, ...] = ("validate", "test", "predict")
_MAX_SPANS = 8192
# Never merged.
_RECENT_EPOCHS = 256


class SpanKey(NamedTuple):
    """An epoch and a phase."""

    epoch: int
    phase: Phase


@dataclass(slots=True)
class Span:
    """Energy, time and steps of one phase of one epoch, or of several.

    Attributes:
        seconds: duration.
        joules: energy by device id.
        entries: number of times the phase was entered, e.g. the number of evaluations.
        steps: framework steps within it.
    """

    seconds: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)
    entries: int = 0
    steps: int = 0

    @property
    def total_j(self) -> float:
        """Joules of all devices."""
        return sum(self.joules.values())

    def add(self, other: Span) -> None:
        """Add another span's figures to this one."""
        self.seconds += other.seconds
        self.entries += other.entries
        self.steps += other.steps
        for device, joules in other.joules.items():
            self.joules[device] = self.joules.get(device, 0.0) + joules

    def since(self, before: Span) -> Span:
        """Return the difference to an earlier state of this span."""
        joules = {device: value - before.joules.get(device, 0.0) for device, value in self.joules.items()}
        entries, steps = self.entries - before.entries, self.steps - before.steps
        return Span(self.seconds - before.seconds, joules, entries, steps)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"seconds": self.seconds, "entries": self.entries, "steps": self.steps, "joules": dict(self.joules)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Span:
        """Restore a span from :meth:`to_dict`."""
        return cls(state["seconds"], dict(state["joules"]), state["entries"], state["steps"])


def merged(spans: Iterable[tuple[SpanKey, Span]]) -> dict[Phase, Span]:
    """Add up spans by phase, in the order of :data:`PHASES`; phases that did not happen are absent."""
    by_phase: dict[Phase, Span] = {}
    for key, span in spans:
        by_phase.setdefault(key.phase, Span()).add(span)
    return {phase: by_phase[phase] for phase in PHASES if phase in by_phase}


def total_of(phases: Mapping[Phase, Span]) -> Span:
    """Return the sum of several phases."""
    total = Span()
    for span in phases.values():
        total.add(span)
    return total


class Timeline:
    """Spans by epoch and phase. They partition the run, so their energies always add up to the total."""

    def __init__(self) -> None:
        self._spans: dict[SpanKey, Span] = {}
        self._by_phase: dict[Phase, Span] = {}
        self._bucket = 1

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[tuple[SpanKey, Span]]:
        return iter(self._spans.items())

    def add(self, key: SpanKey, span: Span) -> None:
        """Add to a span; neighbouring old epochs are merged to bound the memory of very long runs."""
        self._spans.setdefault(key, Span()).add(span)
        self._by_phase.setdefault(key.phase, Span()).add(span)
        if len(self._spans) > _MAX_SPANS:
            self._condense(key.epoch)

    def epoch(self, epoch: int) -> Iterator[tuple[SpanKey, Span]]:
        """Return the spans of one recent epoch."""
        return ((key, self._spans[key]) for phase in PHASES if (key := SpanKey(epoch, phase)) in self._spans)

    def phases(self) -> Iterator[tuple[SpanKey, Span]]:
        """Return the whole run by phase, each under epoch 0."""
        return ((SpanKey(0, phase), span) for phase, span in self._by_phase.items())

    def _condense(self, epoch: int) -> None:
        """Halve the resolution of all but the latest epochs."""
        self._bucket *= 2
        spans, self._spans = self._spans, {}
        for key, span in spans.items():
            first = key.epoch if key.epoch > epoch - _RECENT_EPOCHS else key.epoch - key.epoch % self._bucket
            self._spans.setdefault(SpanKey(first, key.phase), Span()).add(span)
