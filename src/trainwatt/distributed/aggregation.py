"""Aggregation of rank records into a job; each device counts once, even if several ranks have read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trainwatt.accounting.timeline import PHASES, Phase, Span
from trainwatt.distributed.rank_record import RankRecord, summed
from trainwatt.power.device import Device

# Begin and end, seconds since the Unix epoch.
Stretch = tuple[float, float]

_WORST = ("failed", "killed", "interrupted", "running", "finished")


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
        """Seconds without a reading, by device id; from the lowest rank that reads the device."""
        return {name: gap_s for record in reversed(self.records) for name, gap_s in record.gaps_s.items()}

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
    energy counts over the union of their times. The lowest rank counts first; higher ranks only fill the times that it
    did not measure. If such a time begins or ends within a slice, power is taken as constant in the slice.

    Args:
        records: records of one job; the latest record of each process counts.
    """
    known = sorted(_latest(records), key=lambda record: (record.rank, record.from_s, record.id))
    times = [_lead(group) for group in _side_by_side(known)]
    phases = summed([_timed(record.phases) for record in times])
    covered: dict[str, list[Stretch]] = {}
    devices: dict[str, Device] = {}
    for record in known:
        for device in record.devices:
            devices.setdefault(device.id, device)
            taken = covered.setdefault(device.id, [])
            for phase, joules in _beyond(record, device.id, taken).items():
                span = phases.setdefault(phase, Span())
                span.joules[device.id] = span.joules.get(device.id, 0.0) + joules
            taken.append((record.from_s, record.to_s))
    return Job(
        {phase: phases[phase] for phase in PHASES if phase in phases},
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


def _timed(phases: Mapping[Phase, Span]) -> dict[Phase, Span]:
    return {phase: Span(span.seconds, {}, span.entries, span.steps) for phase, span in phases.items()}


def _beyond(record: RankRecord, device: str, taken: Sequence[Stretch]) -> dict[Phase, float]:
    """Return the joules of a device by phase in the time that no earlier record covers."""
    part = uncovered(record.from_s, record.to_s, taken)
    if part == 0:
        return {}
    if part == 1:
        return {phase: span.joules[device] for phase, span in record.phases.items() if device in span.joules}
    joules: dict[Phase, float] = {}
    for from_s, to_s, phases in record.slices:
        free = uncovered(from_s, to_s, taken)
        for phase, span in phases.items():
            if free and device in span.joules:
                joules[phase] = joules.get(phase, 0.0) + free * span.joules[device]
    return joules


def _badness(status: str) -> int:
    return _WORST.index(status) if status in _WORST else 0
