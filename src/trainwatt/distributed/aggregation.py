"""Aggregation of rank records into a job; each device counts once, even if several ranks have read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trainwatt.accounting.timeline import Phase, Span, in_order
from trainwatt.distributed.rank_record import K, RankRecord, summed
from trainwatt.power.device import Device

# Begin and end, seconds since the Unix epoch.
Stretch = tuple[float, float]

_WORST = ("failed", "killed", "interrupted", "running", "stopped", "finished")


@dataclass(frozen=True, slots=True)
class Job:
    """Aggregated measurements of a job's processes.

    Attributes:
        phases: the job by phase; joules of all devices, time, steps and entries of its leading process.
        devices: each device once.
        records: the aggregated records, by rank.
        epochs: number of closed epochs.
        status: the worst status of all processes.
    """

    phases: Mapping[Phase, Span] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    records: tuple[RankRecord, ...] = ()
    epochs: int = 0
    status: str = "finished"

    @property
    def total_j(self) -> float:
        """Joules of all devices."""
        return sum(span.total_j for span in self.phases.values())

    @property
    def gaps_s(self) -> dict[str, float]:
        """Seconds without a reading, by device id; of the process that missed the device for the shortest time."""
        best = {device.id: _readers(self.records, device.id)[0][0] for device in self.devices}
        return {name: record.gaps_s[name] for name, record in best.items() if name in record.gaps_s}

    @property
    def notes(self) -> dict[str, str]:
        """Errors of a device, by device id."""
        return {name: note for record in reversed(self.records) for name, note in record.notes.items()}

    @property
    def sampler_cpu_s(self) -> float:
        """CPU time spent on measuring, in all processes."""
        return sum(record.sampler_cpu_s for record in self.records)

    @property
    def expected(self) -> int:
        """Largest world size that the records state, at least as many processes should exist."""
        return max((record.count for record in self.records), default=0)


def aggregate(records: Iterable[RankRecord]) -> Job:
    """Aggregate rank records into a job.

    The order of the records does not matter, and duplicates count once. If several processes have read a device, its
    energy counts over the union of their times. The process that missed it for the shortest time counts first, among
    equals the lowest rank; the others only fill the times in which it did not read the device. If such a time begins or
    ends within a slice, power is taken as constant in the slice.

    Args:
        records: records of one job; the latest record of each process counts.
    """
    known = sorted(_latest(records), key=lambda record: (record.rank, record.from_s, record.id))
    times = [_lead(group) for group in _side_by_side(known)]
    phases = summed([_timed(record.phases) for record in times])
    devices: dict[str, Device] = {}
    for name in dict.fromkeys(device.id for record in known for device in record.devices):
        taken: list[Stretch] = []
        for record, device in _readers(known, name):
            devices.setdefault(name, device)
            for phase, span in _beyond(record, name, taken).items():
                phases.setdefault(phase, Span()).add(span)
            taken += _read(record, name)
    return Job(
        in_order(phases),
        tuple(devices.values()),
        tuple(known),
        sum(record.epochs for record in times),
        min((record.status for record in known), key=_badness, default="finished"),
    )


def uncovered(from_s: float, to_s: float, taken: Sequence[Stretch]) -> float:
    """Return the part of a time interval, 0 to 1, that other intervals do not cover.

    Args:
        from_s: begin of the interval.
        to_s: end of the interval.
        taken: the other intervals, which may overlap.
    """
    if to_s <= from_s:
        return 0.0
    free_s, at_s = 0.0, from_s
    for begin_s, end_s in sorted(taken):
        if begin_s >= to_s:
            break
        free_s += max(0.0, begin_s - at_s)
        at_s = max(at_s, end_s)
    return (free_s + max(0.0, to_s - at_s)) / (to_s - from_s)


def _latest(records: Iterable[RankRecord]) -> Iterable[RankRecord]:
    by_id: dict[str, RankRecord] = {}
    for record in records:
        before = by_id.get(record.id)
        if before is None or _age(record) > _age(before):
            by_id[record.id] = record
    return by_id.values()


def _age(record: RankRecord) -> tuple[float, bool, float]:
    total_j = sum(span.total_j for span in record.phases.values())
    return record.to_s, record.status != "running", total_j


def _side_by_side(records: Sequence[RankRecord]) -> Iterable[list[RankRecord]]:
    """Yield groups of processes that ran at the same time; a restarted job has several."""
    group: list[RankRecord] = []
    end_s = 0.0
    for record in sorted(records, key=lambda record: (record.from_s, record.rank, record.id)):
        if group and record.from_s >= end_s:
            yield group
            group = []
        end_s = max(end_s, record.to_s) if group else record.to_s
        group.append(record)
    if group:
        yield group


def _lead(group: Sequence[RankRecord]) -> RankRecord:
    """Return the process whose time and steps count: the lowest rank that finished, else the longest-lived."""
    return min(
        group,
        key=lambda record: (
            record.status != "finished",
            0.0 if record.status == "finished" else -record.seconds,
            record.rank,
            record.from_s,
            record.id,
        ),
    )


def _readers(records: Sequence[RankRecord], device: str) -> list[tuple[RankRecord, Device]]:
    """Return the records of those that read a device, the most complete one first."""
    known = [(record, each) for record in records for each in record.devices if each.id == device]
    readers = [reader for reader in known if reader[1].method != "not counted"] or known
    # In whole seconds, so that a short hiccup does not change the reader.
    return sorted(readers, key=lambda reader: round(reader[0].gaps_s.get(device, 0.0)))


def _read(record: RankRecord, device: str) -> Sequence[Stretch]:
    """Return the times in which a process read a device: all of its time, but for slices without energy in a gap."""
    if not record.gaps_s.get(device):
        return [(record.from_s, record.to_s)]
    return [
        (from_s, to_s)
        for from_s, to_s, phases in record.slices
        if sum(span.joules.get(device, 0.0) for span in phases.values()) > 0
    ]


def _timed(phases: Mapping[K, Span]) -> dict[K, Span]:
    """Return spans without their energy."""
    return {
        name: Span(span.seconds, {}, span.entries, span.steps, _timed(span.labels)) for name, span in phases.items()
    }


def _drawn(phases: Mapping[K, Span], device: str, part: float = 1.0) -> dict[K, Span]:
    """Return a part, 0 to 1, of what one device drew."""
    return {
        name: Span(joules={device: part * span.joules[device]}, labels=_drawn(span.labels, device, part))
        for name, span in phases.items()
        if device in span.joules
    }


def _beyond(record: RankRecord, device: str, taken: Sequence[Stretch]) -> dict[Phase, Span]:
    """Return what a device drew by phase in the time that no earlier record covers."""
    part = uncovered(record.from_s, record.to_s, taken)
    if part == 0:
        return {}
    if part == 1:
        return _drawn(record.phases, device)
    free = ((phases, uncovered(from_s, to_s, taken)) for from_s, to_s, phases in record.slices)
    return summed(_drawn(phases, device, part) for phases, part in free if part)


def _badness(status: str) -> int:
    return _WORST.index(status) if status in _WORST else 0
