"""Measurements of one rank, in a form that can be sent and aggregated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, TypeVar, overload

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.power.device import Device

_MAX_SLICES = 64
# A phase, or the name of a part of it.
K = TypeVar("K", bound=str)

_Known = tuple[tuple["Slice", ...], float, Mapping[Phase, Span]]


class Slice(NamedTuple):
    """A part of a run.

    Attributes:
        from_s, to_s: seconds since the Unix epoch.
        phases: energy, time and steps in it, by phase.
    """

    from_s: float
    to_s: float
    phases: Mapping[Phase, Span]


@dataclass(frozen=True, slots=True)
class RankRecord:
    """The part of a job that one rank has measured.

    Attributes:
        id: unique identifier of this process in this run.
        rank: its rank in the job.
        count: world size of the job.
        from_s, to_s: seconds since the Unix epoch.
        phases: all of its measurements by phase, without earlier attempts.
        slices: the same over time, without a gap, to find what another process has measured as well.
        devices: the devices that it reads.
        epochs: number of closed epochs.
        status: as in a summary.
        gaps_s: seconds without a reading, by device id.
        notes: errors of a device, by device id.
        sampler_cpu_s: CPU time spent on measuring.
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

    @property
    def seconds(self) -> float:
        """Duration of its measurement."""
        return self.to_s - self.from_s

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form; each span is a list whose joules follow the device order in ``order``."""
        order = sorted({name for span in self.phases.values() for name in span.joules})
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
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RankRecord:
        """Restore a record from :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the state is not a valid record.
        """
        known = {name: value for name, value in state.items() if name in _FIELDS}
        order = state["order"]
        known["phases"] = _unpacked(state["phases"], order)
        known["slices"] = _Packed(state["slices"], order)
        known["devices"] = tuple(Device.from_dict(each) for each in state["devices"])
        return cls(**known)


_FIELDS = {each.name for each in fields(RankRecord)}


class _Packed(Sequence[Slice]):
    """Slices in their sent form, unpacked on access because few are ever read.

    Raises:
        TypeError, ValueError: if they are not valid slices.
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

    __hash__ = None  # type: ignore[assignment]


class PhaseHistory:
    """History of a run in a bounded number of slices.

    Args:
        from_s: begin of the run, seconds since the Unix epoch.
    """

    def __init__(self, from_s: float) -> None:
        # Replaced as a whole, because another thread reads it.
        self._known: _Known = ((), from_s, {})

    def add(self, to_s: float, phases: Mapping[Phase, Span]) -> None:
        """Record the cumulative figures at a time; earlier slices are never corrected downwards.

        Args:
            to_s: seconds since the Unix epoch.
            phases: figures since the begin of the run; the caller must not change them afterwards.
        """
        slices = self.slices(to_s, phases)
        if len(slices) > len(self._known[0]):
            self._known = (slices if len(slices) <= _MAX_SLICES else _condensed(slices), to_s, phases)

    def slices(self, to_s: float, phases: Mapping[Phase, Span]) -> tuple[Slice, ...]:
        """Return all slices, including the time since the last recorded one."""
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
    """Add up several parts of a run, by phase."""
    total: dict[Phase, Span] = {}
    for phases in parts:
        for phase, span in phases.items():
            total.setdefault(phase, Span()).add(span)
    return total


def _packed(phases: Mapping[K, Span], order: list[str]) -> dict[K, list[Any]]:
    return {
        name: [
            span.seconds,
            span.entries,
            span.steps,
            *(span.joules.get(device, 0.0) for device in order),
            # Parts that the user has named come last, if there are any.
            *([_packed(span.labels, order)] if span.labels else ()),
        ]
        for name, span in phases.items()
    }


def _unpacked(state: Mapping[K, list[Any]], order: list[str]) -> dict[K, Span]:
    spans = {}
    for name, (seconds, entries, steps, *rest) in state.items():
        labels = _unpacked(rest.pop(), order) if len(rest) > len(order) else {}
        spans[name] = Span(seconds, dict(zip(order, rest, strict=True)), int(entries), int(steps), labels)
    return spans
