"""Energy, time and steps of every phase of every epoch; raw figures only, nothing derived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

Phase = Literal["setup", "sanity_check", "train", "validate", "test", "predict", "checkpoint", "other"]

PHASES: tuple[Phase, ...] = get_args(Phase)
INFERENCE: tuple[Phase, ...] = ("validate", "test", "predict")
_MAX_SPANS = 8192
# Never merged.
_RECENT_EPOCHS = 256
_ROUNDING_S = 1e-6


class SpanKey(NamedTuple):
    """An epoch and a phase.

    Attributes:
        epoch: running index of the epoch in this run, from 0, which is not the user's number.
        phase: the phase.
    """

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
        labels: the parts of it that the user has named, by name; they have no overlap, and no labels of their own.
    """

    seconds: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)
    entries: int = 0
    steps: int = 0
    labels: dict[str, Span] = field(default_factory=dict)

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
        for label, part in other.labels.items():
            self.labels.setdefault(label, Span()).add(part)

    def since(self, before: Span) -> Span:
        """Return the difference to an earlier state of this span."""
        joules = {device: value - before.joules.get(device, 0.0) for device, value in self.joules.items()}
        entries, steps = self.entries - before.entries, self.steps - before.steps
        labels = {label: part.since(before.labels.get(label, Span())) for label, part in self.labels.items()}
        labels = {label: part for label, part in labels.items() if part.seconds or part.entries or part.total_j}
        return Span(self.seconds - before.seconds, joules, entries, steps, labels)

    def labelled(self, label: str, entries: int) -> Span:
        """Return this span as a part that the user has named.

        Args:
            label: name of the part; empty if it has none.
            entries: number of times the part was entered.
        """
        if label:
            self.labels = {label: Span(self.seconds, dict(self.joules), entries, self.steps)}
        return self

    def parts(self) -> dict[str, Span]:
        """Return the parts that the user has named, by name, and the rest under an empty name if there is one."""
        rest = Span(self.seconds, dict(self.joules), self.entries, self.steps)
        named = Span()
        for part in self.labels.values():
            named.add(replace(part, entries=0))
        rest = rest.since(named)
        return ({} if self.labels and rest.seconds <= _ROUNDING_S else {"": rest}) | self.labels

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form; ``labels`` is left out if there are none."""
        figures = {"seconds": self.seconds, "entries": self.entries, "steps": self.steps, "joules": dict(self.joules)}
        labels = {label: part.to_dict() for label, part in self.labels.items()}
        return figures | ({"labels": labels} if labels else {})

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Span:
        """Restore a span from :meth:`to_dict`."""
        labels = {label: cls.from_dict(part) for label, part in state.get("labels", {}).items()}
        return cls(state["seconds"], dict(state["joules"]), state["entries"], state["steps"], labels)


def merged(spans: Iterable[tuple[SpanKey, Span]]) -> dict[Phase, Span]:
    """Add up spans by phase, in the order of :data:`PHASES`; phases that did not happen are absent."""
    by_phase: dict[Phase, Span] = {}
    for key, span in spans:
        by_phase.setdefault(key.phase, Span()).add(span)
    return in_order(by_phase)


def in_order(phases: Mapping[Phase, Span]) -> dict[Phase, Span]:
    """Sort phases by :data:`PHASES`; those of another version that this one does not know come last, and count."""
    return {phase: phases[phase] for phase in dict.fromkeys([*PHASES, *phases]) if phase in phases}


def total_of(phases: Mapping[Any, Span]) -> Span:
    """Return the sum of several phases, or of other parts of a run."""
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
        self._limit = _MAX_SPANS
        # First epoch that was not yet taken.
        self._untaken = 0

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[tuple[SpanKey, Span]]:
        return iter(self._spans.items())

    def add(self, key: SpanKey, span: Span) -> None:
        """Add to a span; neighbouring old epochs are merged to bound the memory of very long runs."""
        self._spans.setdefault(key, Span()).add(span)
        self._by_phase.setdefault(key.phase, Span()).add(span)
        if len(self._spans) > self._limit:
            self._condense(key.epoch)

    def epoch(self, epoch: int) -> Iterator[tuple[SpanKey, Span]]:
        """Return the spans of one recent epoch."""
        return ((key, self._spans[key]) for phase in PHASES if (key := SpanKey(epoch, phase)) in self._spans)

    def take(self, before: int) -> list[tuple[SpanKey, Span]]:
        """Return the spans of all epochs before one that is still open, each epoch once.

        Args:
            before: index of the open epoch.
        """
        first, self._untaken = self._untaken, max(self._untaken, before)
        return [each for epoch in range(first, self._untaken) for each in self.epoch(epoch)]

    def phases(self) -> Iterator[tuple[SpanKey, Span]]:
        """Return the whole run by phase, each under epoch 0."""
        return ((SpanKey(0, phase), span) for phase, span in self._by_phase.items())

    def _condense(self, epoch: int) -> None:
        """Halve the resolution of all but the latest epochs and those that were not yet taken."""
        self._bucket *= 2
        kept = min(epoch - _RECENT_EPOCHS + 1, self._untaken)
        spans, self._spans = self._spans, {}
        for key, span in spans.items():
            first = key.epoch if key.epoch >= kept else key.epoch - key.epoch % self._bucket
            self._spans.setdefault(SpanKey(first, key.phase), Span()).add(span)
        # Much may be untaken: the next attempt is made only once there is much more.
        self._limit = max(_MAX_SPANS, len(self._spans) * 5 // 4)
