"""Reading of a job from the run folders of its processes."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from trainwatt.accounting.attempts import (
    Attempt,
    PriorAttempts,
    attempts_of,
    devices_of,
    factors_of,
    identity_of,
    latest,
    training_of,
)
from trainwatt.accounting.timeline import in_order
from trainwatt.distributed.aggregation import Job, aggregate
from trainwatt.distributed.rank_record import RankRecord, Slice, summed
from trainwatt.power.device import Missing
from trainwatt.records.recorded_run import RecordedRun, read_folder
from trainwatt.records.snapshot import RunSnapshot, priced, prior_footprint
from trainwatt.records.summary import Summary
from trainwatt.site import Site

# A record of a process, and the run folder that holds it.
_Known = tuple[RankRecord, RecordedRun]
_RANK = re.compile(r"rank-(\d{1,7})$")


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
    summary = merge([own.folder])
    if summary["status"] == "running" and "last_seen" in own.summary:
        summary["last_seen"] = own.summary["last_seen"]
    return RecordedRun(own.folder, summary, own.log)


def merge(folders: Iterable[str | os.PathLike[str]]) -> Summary:
    """Aggregate the run folders of a job's processes; each device counts once, even if several processes have read it.

    A run that another one has resumed counts as its earlier attempt, not as a process of the same job. Time, steps and
    place are those of rank 0, or of the longest-lived process if rank 0 died.

    Args:
        folders: run folders: that of rank 0 with the others in it, or one per process; merged ones work as well.

    Raises:
        FileNotFoundError: if there is no run folder.
        ValueError: if one is not a run folder of trainwatt, or every process was killed before it recorded its site.
    """
    runs = [run for folder in folders for run in _runs(Path(folder))]
    known: list[_Known] = [(record, run) for run in runs for record in records_of(run)]
    resumed = {attempt.id for _, run in known for attempt in _attempts(run.summary)[:-1]}
    earlier = []
    for lead in (run for run in runs if identity_of(run.summary) in resumed):
        group = [pair for pair in known if pair[1] is lead or _is_with(lead, pair)]
        known = [pair for pair in known if pair not in group]
        earlier.append(_aggregated(group, ()))
    return Summary.of(_aggregated(known, earlier), runs[0].folder)


def _is_with(lead: RecordedRun, pair: _Known) -> bool:
    """Return True if a record is of another process of the same attempt, by its times."""
    record, run = pair
    return (
        record.rank > 0
        and identity_of(run.summary) != identity_of(lead.summary)
        and any(record.from_s < each.to_s and each.from_s < record.to_s for each in records_of(lead))
    )


def _aggregated(known: Sequence[_Known], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Aggregate the processes of one attempt.

    Args:
        known: their records.
        earlier: summaries of earlier attempts.

    Raises:
        ValueError: if every process was killed before it recorded its site.
    """
    job = aggregate(record for record, _ in known)
    ordered = sorted(known, key=lambda pair: (pair[0].from_s // 60, pair[0].rank, pair[0].from_s))
    lead = next(((record, run.summary) for record, run in ordered if "site" in run.summary), None)
    if lead is None:
        raise ValueError("all processes were killed before they recorded their site and devices")
    return _summary(job, lead[1], [*(run.summary for _, run in known), *earlier])


def records_of(run: RecordedRun) -> Iterator[RankRecord]:
    """Yield the records of the processes in a run folder; a single-process run yields one."""
    summary = run.summary
    for state in summary.get("shards", ()):
        record = RankRecord.from_dict(state)
        gone = run.status == "killed" and record.status == "running"
        yield replace(record, status="killed") if gone else record
    if "shards" not in summary:
        yield _alone(summary, _rank_of(run.folder))


def _runs(folder: Path) -> Iterator[RecordedRun]:
    own = read_folder(folder)
    yield own
    for each in sorted(own.folder.glob("rank-*")):
        # A process that has measured nothing yet has no summary.
        with contextlib.suppress(FileNotFoundError):
            yield read_folder(each)


def _attempts(summary: Mapping[str, Any]) -> tuple[Attempt, ...]:
    """Return the attempts of a summary; a run that was killed before its first one is the only one."""
    bare = {name: summary[name] for name in ("run", "began", "status", "seconds", "total_j")}
    return attempts_of({"attempts": [bare], **summary})


def _rank_of(folder: Path) -> int:
    """Return the rank by the name of its folder: a record that was restored from events does not hold it."""
    found = _RANK.search(folder.name)
    return int(found[1]) if found else 0


def _alone(summary: Mapping[str, Any], rank: int) -> RankRecord:
    from_s, to_s = (datetime.fromisoformat(summary[name]).timestamp() for name in ("began", "updated"))
    phases = _attempts(summary)[-1].phases
    return RankRecord(
        id=identity_of(summary),
        rank=rank,
        count=1,
        from_s=from_s,
        to_s=max(to_s, from_s + sum(span.seconds for span in phases.values())),
        phases=phases,
        slices=(Slice(from_s, to_s, phases),),
        devices=devices_of(summary),
        epochs=summary["epochs"],
        status=summary["status"],
        gaps_s={each["id"]: each["gap_s"] for each in summary["devices"] if each["gap_s"]},
        sampler_cpu_s=summary.get("sampler_cpu_s", 0.0),
    )


def _prior(job: Job, summary: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> PriorAttempts:
    """Return the earlier attempts of a job: all that a summary of a process lists, and each once."""
    own = {identity_of(summary), *(record.id for record in job.records)}
    listed = [each for state in summaries for each in _attempts(state)]
    attempts = tuple(each for each in latest(listed) if each.id not in own)
    return PriorAttempts(
        tuple(sorted(attempts, key=lambda each: each.began)),
        devices_of({"devices": [device for state in summaries for device in state["devices"]]}),
        factors_of(summaries) if attempts else (),
        training_of(summary) if attempts else "",
        _attempts(summary)[-1].parent,
    )


def _summary(job: Job, summary: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    site = Site.from_dict(summary["site"])
    prior = priced(_prior(job, summary, summaries), site)
    phases = summed((prior.phases, job.phases))
    snapshot = RunSnapshot(
        run=summary["run"],
        status=job.status,
        began_s=min(record.from_s for record in job.records),
        now_s=max(record.to_s for record in job.records),
        phases=in_order(phases),
        epoch={},
        epochs=job.epochs,
        devices=job.devices,
        site=site,
        missing=tuple(Missing(**each) for each in summary["missing"]),
        gaps_s=job.gaps_s,
        notes=job.notes,
        sampler_cpu_s=job.sampler_cpu_s,
        samples=summary["samples"],
        prior=prior,
        prior_footprint=prior_footprint(prior, site),
        id=identity_of(summary),
        lost_j=_attempts(summary)[-1].lost_j,
    )
    kept = {name: summary[name] for name in ("site", "about", "host", "projection") if name in summary}
    made_of = {
        "processes": {"count": max(job.expected, len(job.records)), "joined": len(job.records)},
        "shards": [record.to_dict() for record in job.records],
    }
    return snapshot.summary() | kept | made_of
