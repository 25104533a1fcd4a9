"""The job as one of its processes knows it: its own record, and the latest ones of the other ranks."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.accounting.timeline import Phase, Span, in_order, total_of
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.projection.projection import Projection
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.units import kwh_from_j

if TYPE_CHECKING:
    from trainwatt.distributed.rank_record import PhaseHistory, RankRecord

_log = logging.getLogger("trainwatt")

# Longest delay of an epoch by a disk that does not answer: the first time, and then.
_PATIENCE_S, _HURRY_S = 5.0, 0.1


class JobAggregator:
    """Aggregator of the records of all ranks.

    Args:
        processes: process group of the job.
        began_s: time at which this process began to measure, in seconds since the Unix epoch.

    Attributes:
        id: unique identifier of this process in this run.
    """

    def __init__(self, processes: ProcessGroup, began_s: float) -> None:
        self.processes = processes
        self._began_s = began_s
        self.id = uuid.uuid4().hex
        self._phase_history: PhaseHistory | None = None
        if self.several:
            from trainwatt.distributed.rank_record import PhaseHistory  # noqa: PLC0415  # a single process needs none of it

            self._phase_history = PhaseHistory(began_s)
        self._others: dict[str, RankRecord] = {}
        self._disk_answers = True
        self._shown_j: dict[str, float] = {}  # the most that was shown of each device
        self._closed: Mapping[Phase, Span] = {}  # the job at the end of the epoch before, without earlier attempts

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
            id=self.id,
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
        )

    def merge(self, states: Iterable[object]) -> None:
        """Merge the states of other processes, on rank 0 only; one that cannot be parsed is left out with a warning."""
        if not self.processes.is_rank_zero:
            return
        from trainwatt.distributed.rank_record import RankRecord  # noqa: PLC0415

        # replaced as a whole: it is read in another thread
        others = dict(self._others)
        for state in states:
            if isinstance(state, Mapping) and state.get("id") != self.id:
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
        # Few need them.
        from trainwatt.files.background import within  # noqa: PLC0415
        from trainwatt.records import rank_folders  # noqa: PLC0415

        where = (output_dir, self.processes.job, self._began_s)
        others = self.processes.world_size - 1
        read = partial(rank_folders.wait, *where, others) if last else partial(rank_folders.read, *where)
        try:
            return within(_PATIENCE_S if self._disk_answers else _HURRY_S, read)
        except OSError as error:
            if self._disk_answers:
                self._disk_answers = False
                _log.warning("trainwatt: the figures of the other processes cannot be read now: %s", error)
            return ()

    def aggregated(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Aggregate the job, as far as its ranks have reported.

        Args:
            snapshot: snapshot of this process, from which time and steps are taken.
        """
        if not self._others:
            return snapshot
        job = self._joined(snapshot)
        return replace(job, phases=self._shown(job.phases)) if snapshot.status == "running" else job

    def _joined(self, snapshot: RunSnapshot) -> RunSnapshot:
        from trainwatt.distributed.aggregation import aggregate  # noqa: PLC0415
        from trainwatt.distributed.rank_record import summed  # noqa: PLC0415

        own = snapshot.own_phases
        job = aggregate([self.rank_record(snapshot), *self._others.values()])
        phases = {phase: _timed_as(own.get(phase, Span()), span) for phase, span in job.phases.items()}
        projection = snapshot.projection
        return replace(
            snapshot,
            phases=in_order(summed((snapshot.prior.phases, phases))),
            devices=job.devices,
            gaps_s=job.gaps_s,
            notes=job.notes,
            sampler_cpu_s=job.sampler_cpu_s,
            projection=projection and _of_job(projection, own, job.phases, snapshot.prior.phases),
        )

    def end_epoch(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Aggregate the job at the end of an epoch, with the energy of all ranks in this epoch.

        Args:
            snapshot: snapshot of this process.
        """
        if not self._others:
            self._closed = snapshot.own_phases
            return snapshot
        job = self._joined(snapshot)
        spans = {phase: span.since(self._closed.get(phase, Span())) for phase, span in job.own_phases.items()}
        own = snapshot.epoch
        epoch = {phase: _timed_as(own[phase], span) for phase, span in spans.items() if phase in own}
        self._closed = job.own_phases
        return replace(job, phases=self._shown(job.phases), epoch=epoch)

    def _shown(self, phases: Mapping[Phase, Span]) -> dict[Phase, Span]:
        """Return the job by phase as it is shown: no device shows less once the reading of another process counts."""
        joules = total_of(phases).joules
        excess = {device: shown_j - joules.get(device, 0.0) for device, shown_j in self._shown_j.items()}
        excess = {device: over_j for device, over_j in excess.items() if over_j > 0}
        self._shown_j |= {device: max(value, self._shown_j.get(device, value)) for device, value in joules.items()}
        other = Span()
        other.add(phases.get("other", Span()))
        other.add(Span(0.0, excess))
        return in_order({**phases, "other": other}) if excess else dict(phases)

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
    labels = {label: _timed_as(own.labels.get(label, Span()), part) for label, part in span.labels.items()}
    return Span(own.seconds, span.joules, own.entries, own.steps, labels)


def _of_job(
    projection: Projection,
    own: Mapping[Phase, Span],
    job: Mapping[Phase, Span],
    prior: Mapping[Phase, Span],
) -> Projection:
    """Extend the projection of one process to its job.

    What was measured is that of the job. The remaining work of a phase costs the job as many times more than this
    process as the phase has cost so far; a phase that has not been measured yet, as all phases together.

    Args:
        projection: of one process, earlier attempts included.
        own: the phases of this process so far.
        job: those of the job.
        prior: those of earlier attempts.
    """
    own_j, job_j, prior_j = (_joules(phases) for phases in (own, job, prior))
    mean = _ratio(sum(job_j.values()), sum(own_j.values()))
    rest_j = {
        phase: max(0.0, whole_j - prior_j.get(phase, 0.0) - own_j.get(phase, 0.0))
        for phase, whole_j in projection.phases_j.items()
    }
    rest_of_job_j = {
        phase: rest * (_ratio(job_j.get(phase, 0.0), own_j[phase]) if own_j.get(phase) else mean)
        for phase, rest in rest_j.items()
    }
    past_kwh = kwh_from_j(sum(job_j.values()) + sum(prior_j.values()))
    own_past_kwh = kwh_from_j(sum(own_j.values()) + sum(prior_j.values()))
    rest_kwh, ratio = kwh_from_j(sum(rest_of_job_j.values())), _ratio(sum(rest_of_job_j.values()), sum(rest_j.values()))
    energy = projection.energy_kwh
    phases = dict.fromkeys([*projection.phases_j, *job_j, *prior_j])
    return replace(
        projection,
        energy_kwh=replace(
            energy,
            low=past_kwh + min(rest_kwh, max(0.0, energy.low - own_past_kwh) * ratio),
            central=past_kwh + rest_kwh,
            high=past_kwh + max(rest_kwh, (energy.high - own_past_kwh) * ratio),
        ),
        phases_j={phase: sum(each.get(phase, 0.0) for each in (prior_j, job_j, rest_of_job_j)) for phase in phases},
    )


def _joules(phases: Mapping[Phase, Span]) -> dict[Phase, float]:
    return {phase: span.total_j for phase, span in phases.items()}


def _ratio(one: float, other: float) -> float:
    return one / other if other else 1.0
