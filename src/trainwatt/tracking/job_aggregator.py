"""The job as one of its processes knows it: its own record, and the latest ones of the other ranks."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.accounting.timeline import PHASES, Phase, Span, total_of
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.projection.projection import Projection
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.units import kwh_from_j

if TYPE_CHECKING:
    from trainwatt.distributed.rank_record import PhaseHistory, RankRecord

_log = logging.getLogger("trainwatt")


class JobAggregator:
    """Aggregator of the records of all ranks.

    Args:
        processes: process group of the job.
        began_s: time at which this process began to measure, in seconds since the Unix epoch.
    """

    def __init__(self, processes: ProcessGroup, began_s: float) -> None:
        self.processes = processes
        self._began_s = began_s
        self._id = uuid.uuid4().hex
        self._phase_history: PhaseHistory | None = None
        if self.several:
            from trainwatt.distributed.rank_record import PhaseHistory  # noqa: PLC0415  # a single process needs none of it

            self._phase_history = PhaseHistory(began_s)
        self._others: dict[str, RankRecord] = {}
        self._closed: Mapping[Phase, Span] = {}  # the job at the end of the epoch before

    @property
    def several(self) -> bool:
        """True if the job has more than this process."""
        return self.processes.world_size > 1

    def tick(self, snapshot: RunSnapshot) -> None:
        """Extend the power history of this process.

        Args:
            snapshot: snapshot of this process.
        """
        if self._phase_history:
            self._phase_history.add(snapshot.now_s, snapshot.own_phases)

    def rank_record(self, snapshot: RunSnapshot) -> RankRecord:
        """Make the record of this process.

        Args:
            snapshot: snapshot of this process.
        """
        phases = snapshot.own_phases
        from trainwatt.distributed.rank_record import RankRecord  # noqa: PLC0415

        return RankRecord(
            id=self._id,
            rank=self.processes.rank,
            count=self.processes.world_size,
            from_s=snapshot.began_s,
            to_s=snapshot.now_s,
            phases=phases,
            slices=self._phase_history.slices(snapshot.now_s, phases) if self._phase_history else (),
            devices=snapshot.devices,
            epochs=snapshot.epochs,
            status=snapshot.status,
            gaps_s=snapshot.gaps_s,
            notes=snapshot.notes,
            sampler_cpu_s=snapshot.sampler_cpu_s,
            before=snapshot.prior.phases,
        )

    def merge(self, states: Iterable[object]) -> None:
        """Merge the states of other processes, on rank 0 only; one that cannot be parsed is left out with a warning."""
        if not self.processes.is_rank_zero:
            return
        from trainwatt.distributed.rank_record import RankRecord  # noqa: PLC0415

        # replaced as a whole: it is read in another thread
        others = dict(self._others)
        for state in states:
            if isinstance(state, Mapping) and state.get("id") != self._id:
                try:
                    record = RankRecord.from_dict(state)
                except (KeyError, TypeError, ValueError) as error:
                    _log.warning("trainwatt: the figures of another process cannot be parsed: %s", error)
                else:
                    others[record.id] = record
        self._others = others

    def poll_folders(self, output_dir: Path, *, last: bool = False) -> Sequence[Mapping[str, Any]]:
        """Read what the others have written into the folder of run folders.

        Args:
            output_dir: that folder.
            last: wait a moment for the final figures, which all are about to write.
        """
        from trainwatt.records import rank_folders  # noqa: PLC0415  # few need it

        where = (output_dir, self.processes.job, self._began_s)
        return rank_folders.wait(*where, self.processes.world_size - 1) if last else rank_folders.read(*where)

    def aggregated(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Aggregate the job, as far as its ranks have reported.

        Args:
            snapshot: snapshot of this process, from which time and steps are taken.
        """
        if not self._others:
            return snapshot
        from trainwatt.distributed.aggregation import aggregate  # noqa: PLC0415
        from trainwatt.distributed.rank_record import summed  # noqa: PLC0415

        own = snapshot.own_phases
        job = aggregate([self.rank_record(snapshot), *self._others.values()])
        phases = {phase: _timed_as(own.get(phase, Span()), span) for phase, span in job.phases.items()}
        ratio = job.total_j / total_of(own).total_j if total_of(own).total_j else 1.0
        return replace(
            snapshot,
            phases=_ordered(summed((snapshot.prior.phases, phases))),
            devices=job.devices,
            gaps_s=job.gaps_s,
            notes=job.notes,
            sampler_cpu_s=job.sampler_cpu_s,
            projection=snapshot.projection and _of_job(snapshot.projection, ratio, snapshot.prior.total_j),
        )

    def end_epoch(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Aggregate the job at the end of an epoch, with the energy of all ranks in this epoch.

        Args:
            snapshot: snapshot of this process.
        """
        if not self._others:
            self._closed = snapshot.phases
            return snapshot
        job = self.aggregated(snapshot)
        before = self._closed or snapshot.prior.phases
        spans = {phase: span.since(before.get(phase, Span())) for phase, span in job.phases.items()}
        own = snapshot.epoch
        epoch = {phase: _timed_as(own[phase], span) for phase, span in spans.items() if phase in own}
        self._closed = job.phases
        return replace(job, epoch=epoch)

    def record(self, snapshot: RunSnapshot) -> dict[str, Any]:
        """Make the part of ``summary.json`` from which the job can be aggregated again.

        Args:
            snapshot: snapshot of this process.
        """
        if not self.several:
            return {}
        records = [self.rank_record(snapshot)]
        if snapshot.status != "running":
            records += self._others.values()
        return {
            "processes": {
                "count": self.processes.world_size,
                "joined": len(self._others) + 1,
                "job": self.processes.job,
            },
            "shards": [record.to_dict() for record in records],
        }


def _timed_as(own: Span, span: Span) -> Span:
    return Span(own.seconds, span.joules, own.entries, own.steps)


def _ordered(phases: Mapping[Phase, Span]) -> dict[Phase, Span]:
    return {phase: phases[phase] for phase in PHASES if phase in phases}


def _of_job(projection: Projection, ratio: float, before_j: float) -> Projection:
    """Scale the projection of one process to the job: the others keep their share of the energy so far."""
    before_kwh, energy = kwh_from_j(before_j), projection.energy_kwh
    scaled = replace(
        energy,
        low=before_kwh + (energy.low - before_kwh) * ratio,
        central=before_kwh + (energy.central - before_kwh) * ratio,
        high=before_kwh + (energy.high - before_kwh) * ratio,
    )
    return replace(projection, energy_kwh=scaled)
