"""Reading of a job from the run folders of its processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import Attempt, PriorAttempts
from trainwatt.accounting.timeline import PHASES, Span
from trainwatt.distributed.aggregation import Job, aggregate
from trainwatt.distributed.rank_record import RankRecord, Slice, summed
from trainwatt.power.device import Device, Missing
from trainwatt.records.recorded_run import RecordedRun, read_folder
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.records.summary import Summary
from trainwatt.site import Site

_DEVICE = ("id", "kind", "name", "method", "source", "low", "high")


def read_run(folder: str | os.PathLike[str]) -> RecordedRun:
    """Read a run folder, of a running run or of one that ended in any way.

    If the folder contains those of other processes of the job, the summary is that of the job.

    Args:
        folder: the run folder, or the ``summary.json`` in it.

    Raises:
        FileNotFoundError: if there is no run folder.
        ValueError: if it is not a run folder of trainwatt.
    """
    own, *others = _runs(Path(folder))
    if not others or "site" not in own.summary:
        return own
    return RecordedRun(own.folder, merge([own.folder]), own.events)


def merge(folders: Iterable[str | os.PathLike[str]]) -> Summary:
    """Aggregate the run folders of a job's processes; each device counts once, even if several processes have read it.

    Time, steps and place are those of rank 0, or of the longest-lived process if rank 0 died.

    Args:
        folders: run folders: that of rank 0 with the others in it, or one per process; merged ones work as well.

    Raises:
        FileNotFoundError: if there is no run folder.
        ValueError: if one is not a run folder of trainwatt, or every process was killed before it recorded its site.
    """
    runs = [run for folder in folders for run in _runs(Path(folder))]
    known = [(record, run) for run in runs for record in records_of(run)]
    job = aggregate(record for record, _ in known)
    ordered = sorted(known, key=lambda pair: (pair[0].from_s // 60, pair[0].rank, pair[0].from_s))
    lead = next(((record, run.summary) for record, run in ordered if "site" in run.summary), None)
    if lead is None:
        raise ValueError("all processes were killed before they recorded their site and devices")
    return Summary.of(_summary(job, *lead), runs[0].folder)


def records_of(run: RecordedRun) -> Iterator[RankRecord]:
    """Yield the records of the processes in a run folder; a single-process run yields one."""
    summary = run.summary
    for state in summary.get("shards", ()):
        record = RankRecord.from_dict(state)
        gone = run.status == "killed" and record.status == "running"
        yield replace(record, status="killed") if gone else record
    if "shards" not in summary:
        yield _alone(summary)


def _runs(folder: Path) -> Iterator[RecordedRun]:
    own = read_folder(folder)
    yield own
    for each in sorted(own.folder.glob("rank-*")):
        # A process that has measured nothing yet has no summary.
        with contextlib.suppress(FileNotFoundError):
            yield read_folder(each)


def _alone(summary: Mapping[str, Any]) -> RankRecord:
    from_s, to_s = (datetime.fromisoformat(summary[name]).timestamp() for name in ("began", "updated"))
    phases = {phase: Span.from_dict(span) for phase, span in summary["phases"].items()}
    return RankRecord(
        id=f"{summary['run']} {summary['began']}",
        rank=0,
        count=1,
        from_s=from_s,
        to_s=max(to_s, from_s + sum(span.seconds for span in phases.values())),
        phases=phases,
        slices=(Slice(from_s, to_s, phases),),
        devices=tuple(_device(each) for each in summary["devices"]),
        epochs=summary["epochs"],
        status=summary["status"],
        gaps_s={each["id"]: each["gap_s"] for each in summary["devices"] if each["gap_s"]},
        sampler_cpu_s=summary.get("sampler_cpu_s", 0.0),
    )


def _device(state: Mapping[str, Any]) -> Device:
    known = {name: state[name] for name in _DEVICE}
    return Device(**known, share=state.get("attributed_share"), note=state.get("note", ""))


def _summary(job: Job, first: RankRecord, summary: Mapping[str, Any]) -> dict[str, Any]:
    phases = summed((first.before, job.phases))
    attempts = tuple(Attempt(**each) for each in summary["attempts"][:-1])
    snapshot = RunSnapshot(
        run=summary["run"],
        status=job.status,
        began_s=min(record.from_s for record in job.records),
        now_s=max(record.to_s for record in job.records),
        phases={phase: phases[phase] for phase in PHASES if phase in phases},
        epoch={},
        epochs=job.epochs,
        devices=job.devices,
        site=Site.from_dict(summary["site"]),
        missing=tuple(Missing(**each) for each in summary["missing"]),
        gaps_s=job.gaps_s,
        notes=job.notes,
        sampler_cpu_s=job.sampler_cpu_s,
        samples=summary["samples"],
        prior=PriorAttempts(first.before, tuple(_device(each) for each in summary["devices"]), attempts),
    )
    kept = {name: summary[name] for name in ("site", "about", "projection")}
    made_of = {
        "processes": {"count": max(job.expected, len(job.records)), "joined": len(job.records)},
        "shards": [record.to_dict() for record in job.records],
    }
    return snapshot.summary() | kept | made_of
