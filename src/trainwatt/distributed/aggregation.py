"""Several processes of a job -> the job: each device is counted once, whoever has read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trainwatt.accounting.timeline import PHASES, Phase, Span
from trainwatt.distributed.rank_record import RankRecord, summed
from trainwatt.power.device import Device

Stretch = tuple[float, float]  # from and to, seconds since the Unix epoch

_WORST = ("failed", "killed", "interrupted", "running", "finished")


@dataclass(frozen=True, slots=True)
class Job:
    """What several processes have measured together.

    Attributes:
        phases: the job by phase: joules of all devices; time, steps and entries of its first process.
        devices: each once.
        shards: what it was made of, by rank.
        epochs: number of closed epochs.
        status: the worst of all.
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
        """Seconds without a figure, by device id: as the first that reads it tells."""
        return {name: gap_s for shard in reversed(self.shards) for name, gap_s in shard.gaps_s.items()}

    @property
    def notes(self) -> dict[str, str]:
        """What went wrong with a device, by device id."""
        return {name: note for shard in reversed(self.shards) for name, note in shard.notes.items()}

    @property
    def sampler_cpu_s(self) -> float:
        """CPU time that measuring took, in all processes."""
        return sum(shard.sampler_cpu_s for shard in self.shards)

    @property
    def expected(self) -> int:
        """How many processes it should have at least, as they tell."""
        return max((shard.count for shard in self.shards), default=0)


def aggregate(shards: Iterable[RankRecord]) -> Job:
    """Join what processes have measured; their order does not matter, and what is given twice counts once.

    A device that several processes have read counts over the union of their times: by the first of them, in the order
    of their ranks, and by the others only where those before did not measure. At the edge of such a stretch the power
    within a slice is taken as even.

    Args:
        shards: of one job; of one process the latest counts.
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
    """The part of a stretch of time, 0 to 1, that others leave.

    Args:
        from_s: where the stretch begins.
        to_s: where it ends.
        taken: those others, which may overlap.
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
    """Groups of processes that ran at the same time; a job that was started anew has several."""
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
    """Whose time and steps are the job's: the first that came to its end, else the one that lived longest."""
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
    """Joules of a device by phase, in the time that was not taken by those before."""
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
