"""What one process of a job has measured, in a form that travels and that can be joined with the others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, overload

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.power.device import Device

_MAX_SLICES = 64

_Known = tuple[tuple["Slice", ...], float, Mapping[Phase, Span]]


class Slice(NamedTuple):
    """A part of a run.

    Attributes:
        from_s, to_s: seconds since the Unix epoch.
        phases: what was spent in it, by phase.
    """

    from_s: float
    to_s: float
    phases: Mapping[Phase, Span]


@dataclass(frozen=True, slots=True)
class RankRecord:
    """The part of a job that one process has measured.

    Attributes:
        id: of this process in this run, unlike any other.
        rank: its number in the job.
        count: how many processes the job has.
        from_s, to_s: seconds since the Unix epoch.
        phases: all of it by phase; earlier attempts left out.
        slices: the same over time, without a gap, to tell what of it another process has measured, too.
        devices: what was read.
        epochs: number of closed epochs.
        status: as in a summary.
        gaps_s: seconds without a figure, by device id.
        notes: what went wrong with a device, by device id.
        sampler_cpu_s: CPU time that measuring took.
        before: what earlier attempts took, by phase; only the first process tells it.
    """

    id: str
    rank: int
    count: int
    from_s: float
    to_s: float
    phases: Mapping[Phase, Span]
    slices: Sequence[Slice]
    devices: tuple[Device, ...]
    epochs: int = 0
    status: str = "running"
    gaps_s: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    sampler_cpu_s: float = 0.0
    before: Mapping[Phase, Span] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it measured."""
        return self.to_s - self.from_s

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form; the figures of a span in a row, joules in the order of ``order``."""
        order = sorted(
            {name for spans in (self.phases, self.before) for span in spans.values() for name in span.joules}
        )
        return {
            "id": self.id,
            "rank": self.rank,
            "count": self.count,
            "from_s": self.from_s,
            "to_s": self.to_s,
            "order": order,
            "phases": _packed(self.phases, order),
            "slices": [[part.from_s, part.to_s, _packed(part.phases, order)] for part in self.slices],
            "devices": [asdict(device) for device in self.devices],
            "epochs": self.epochs,
            "status": self.status,
            "gaps_s": dict(self.gaps_s),
            "notes": dict(self.notes),
            "sampler_cpu_s": self.sampler_cpu_s,
            "before": _packed(self.before, order),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RankRecord:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        known = {name: value for name, value in state.items() if name in _FIELDS}
        order = state["order"]
        known["phases"], known["before"] = _unpacked(state["phases"], order), _unpacked(state["before"], order)
        known["slices"] = _Packed(state["slices"], order)
        known["devices"] = tuple(Device(**{**each, "covers": tuple(each["covers"])}) for each in state["devices"])
        return cls(**known)


_FIELDS = {each.name for each in fields(RankRecord)}


class _Packed(Sequence[Slice]):
    """Slices as they have travelled: few are ever looked at.

    Raises:
        TypeError, ValueError: they are none.
    """

    def __init__(self, slices: Iterable[Sequence[Any]], order: list[str]) -> None:
        self._slices = tuple((float(from_s), float(to_s), spans) for from_s, to_s, spans in slices)
        self._order = order

    def __len__(self) -> int:
        return len(self._slices)

    @overload
    def __getitem__(self, index: int) -> Slice: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Slice]: ...

    def __getitem__(self, index: int | slice) -> Slice | Sequence[Slice]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        from_s, to_s, spans = self._slices[index]
        return Slice(from_s, to_s, _unpacked(spans, self._order))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list


class Course:
    """A run over time, in a bounded number of slices.

    Args:
        from_s: when the run begins, seconds since the Unix epoch.
    """

    def __init__(self, from_s: float) -> None:
        self._known: _Known = ((), from_s, {})  # replaced as a whole: it is read in another thread

    def add(self, to_s: float, phases: Mapping[Phase, Span]) -> None:
        """The run has taken this much by then; what was added before is not taken back.

        Args:
            to_s: seconds since the Unix epoch.
            phases: of the run since it began, the caller's own no longer.
        """
        slices = self.slices(to_s, phases)
        if len(slices) > len(self._known[0]):
            self._known = (slices if len(slices) <= _MAX_SLICES else _condensed(slices), to_s, phases)

    def slices(self, to_s: float, phases: Mapping[Phase, Span]) -> tuple[Slice, ...]:
        """All slices, with what came after the last of them."""
        slices, from_s, before = self._known
        if to_s <= from_s:
            return slices
        spans = {phase: span.since(before.get(phase, Span())) for phase, span in phases.items()}
        changed = {phase: span for phase, span in spans.items() if span.seconds or span.joules}
        return (*slices, Slice(from_s, to_s, changed))


def _condensed(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    pairs = zip(slices[::2], slices[1::2], strict=False)
    odd = slices[len(slices) // 2 * 2 :]
    return (*(Slice(a.from_s, b.to_s, summed((a.phases, b.phases))) for a, b in pairs), *odd)


def summed(parts: Iterable[Mapping[Phase, Span]]) -> dict[Phase, Span]:
    """The sum of several parts of a run, by phase."""
    total: dict[Phase, Span] = {}
    for phases in parts:
        for phase, span in phases.items():
            total.setdefault(phase, Span()).add(span)
    return total


def _packed(phases: Mapping[Phase, Span], order: list[str]) -> dict[str, list[float]]:
    return {
        phase: [span.seconds, span.entries, span.steps, *(span.joules.get(name, 0.0) for name in order)]
        for phase, span in phases.items()
    }


def _unpacked(state: Mapping[Phase, list[float]], order: list[str]) -> dict[Phase, Span]:
    return {
        phase: Span(seconds, dict(zip(order, joules, strict=True)), int(entries), int(steps))
        for phase, (seconds, entries, steps, *joules) in state.items()
    }
