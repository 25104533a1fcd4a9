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
        shards: the aggregated records, by rank.
        epochs: number of closed epochs.
        status: the worst status of all processes.
    """

    phases: Mapping[Phase, Span] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    shards: tuple[RankRecord, ...] = ()
    epochs: int = 0
    status: str = "finished"

    @property
    def total_j(self) -> float:
        """Joules of all devices."""
        return sum(span.total_j for span in self.phases.values())

    @property
    def gaps_s(self) -> dict[str, float]:
        """Seconds without a reading, by device id; from the lowest rank that reads the device."""
        return {name: gap_s for shard in reversed(self.shards) for name, gap_s in shard.gaps_s.items()}

    @property
    def notes(self) -> dict[str, str]:
        """Errors of a device, by device id."""
        return {name: note for shard in reversed(self.shards) for name, note in shard.notes.items()}

    @property
    def sampler_cpu_s(self) -> float:
        """CPU time spent on measuring, in all processes."""
        return sum(shard.sampler_cpu_s for shard in self.shards)

    @property
    def expected(self) -> int:
        """Largest world size that the records state, at least as many processes should exist."""
        return max((shard.count for shard in self.shards), default=0)


def aggregate(shards: Iterable[RankRecord]) -> Job:
    """Aggregate rank records into a job.

    The order of the records does not matter, and duplicates count once. If several processes have read a device, its
    energy counts over the union of their times. The lowest rank counts first; higher ranks only fill the times that it
    did not measure. If such a time begins or ends within a slice, power is taken as constant in the slice.

    Args:
        shards: records of one job; the latest record of each process counts.
    """
    known = sorted(_latest(shards), key=lambda shard: (shard.rank, shard.from_s, shard.id))
    times = [_lead(group) for group in _side_by_side(known)]
    phases = summed([_timed(shard.phases) for shard in times])
    covered: dict[str, list[Stretch]] = {}
    devices: dict[str, Device] = {}
    for shard in known:
        for device in shard.devices:
            devices.setdefault(device.id, device)
            taken = covered.setdefault(device.id, [])
            for phase, joules in _beyond(shard, device.id, taken).items():
                span = phases.setdefault(phase, Span())
                span.joules[device.id] = span.joules.get(device.id, 0.0) + joules
            taken.append((shard.from_s, shard.to_s))
    return Job(
        {phase: phases[phase] for phase in PHASES if phase in phases},
        tuple(devices.values()),
        tuple(known),
        sum(shard.epochs for shard in times),
        min((shard.status for shard in known), key=_badness, default="finished"),
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


def _latest(shards: Iterable[RankRecord]) -> Iterable[RankRecord]:
    by_id: dict[str, RankRecord] = {}
    for shard in shards:
        before = by_id.get(shard.id)
        if before is None or _age(shard) > _age(before):
            by_id[shard.id] = shard
    return by_id.values()


def _age(shard: RankRecord) -> tuple[float, bool, float]:
    total_j = sum(span.total_j for span in shard.phases.values())
    return shard.to_s, shard.status != "running", total_j


def _side_by_side(shards: Sequence[RankRecord]) -> Iterable[list[RankRecord]]:
    """Yield groups of processes that ran at the same time; a restarted job has several."""
    group: list[RankRecord] = []
    end_s = 0.0
    for shard in sorted(shards, key=lambda shard: (shard.from_s, shard.rank, shard.id)):
        if group and shard.from_s >= end_s:
            yield group
            group = []
        end_s = max(end_s, shard.to_s) if group else shard.to_s
        group.append(shard)
    if group:
        yield group


def _lead(group: Sequence[RankRecord]) -> RankRecord:
    """Return the process whose time and steps count: the lowest rank that finished, else the longest-lived."""
    return min(
        group,
        key=lambda shard: (
            shard.status != "finished",
            0.0 if shard.status == "finished" else -shard.seconds,
            shard.rank,
            shard.from_s,
            shard.id,
        ),
    )


def _timed(phases: Mapping[Phase, Span]) -> dict[Phase, Span]:
    return {phase: Span(span.seconds, {}, span.entries, span.steps) for phase, span in phases.items()}


def _beyond(shard: RankRecord, device: str, taken: Sequence[Stretch]) -> dict[Phase, float]:
    """Return the joules of a device by phase in the time that no earlier record covers."""
    part = uncovered(shard.from_s, shard.to_s, taken)
    if part == 0:
        return {}
    if part == 1:
        return {phase: span.joules[device] for phase, span in shard.phases.items() if device in span.joules}
    joules: dict[Phase, float] = {}
    for from_s, to_s, phases in shard.slices:
        free = uncovered(from_s, to_s, taken)
        for phase, span in phases.items():
            if free and device in span.joules:
                joules[phase] = joules.get(phase, 0.0) + free * span.joules[device]
    return joules


def _badness(status: str) -> int:
    return _WORST.index(status) if status in _WORST else 0
