"""Weeks of training in a minute: 10 million steps in virtual time, with nothing of trainwatt replaced.

What grows, and what rounding makes of the sum: memory and files half way and at the end, and the total against the true
energy in exact arithmetic.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import psutil

from standins.meters import StandInCounter
from standins.virtual import VirtualClock
from trainwatt.power.device import Device, Found
from trainwatt.sampling.sampler import Sampler
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

WATTS = {"gpu": 283.7, "cpu": 41.3}
STEPS = 10_000_000
EPOCHS = 6_000
STEP_S = 0.1875  # three weeks
INTERVAL_S = 30.0
_BEGAN_S = 1000.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What there is of a run at a moment.

    Attributes:
        epochs: made so far.
        rss_bytes: memory of the process.
        spans: of the timeline, in memory.
        events_bytes, summary_bytes: the run folder.
    """

    epochs: int
    rss_bytes: int
    spans: int
    events_bytes: int
    summary_bytes: int


@dataclass(frozen=True, slots=True)
class Soak:
    """A run that is over.

    Attributes:
        days: simulated.
        steps: made.
        half, end: half way, and at the end.
        total_error: of the total, relative to the true energy.
        parts_error: of the sum of all spans in the record, relative to the same.
    """

    days: float
    steps: int
    half: Stage
    end: Stage
    total_error: float
    parts_error: float


def soak(folder: Path, steps: int = STEPS, epochs: int = EPOCHS, step_s: float = STEP_S) -> Soak:
    """Train for so long in virtual time."""
    clock = VirtualClock(_BEGAN_S)
    sampler = Sampler(clock, threaded=False)
    settings = Settings.check(
        output_dir=folder, run_name="soak", zone="FR", interval=INTERVAL_S, verbose=False, project_after=None
    )
    session = Session(settings, found=Found(tuple(_meters(clock))), sampler=sampler)
    due_s, half = sampler.tick(), None
    for epoch in range(epochs):
        session.begin("train", epoch=epoch)
        for _ in range(steps // epochs):
            clock.now_s += step_s
            session.step()
            if clock.now_s >= due_s:
                due_s = sampler.tick()
        session.begin("validate")
        clock.now_s += step_s
        session.end("validate")
        session.end("train")
        session.end_epoch()
        if epoch == epochs // 2:
            half = _stage(session, epoch + 1)
    clock.now_s = due_s
    sampler.tick()
    end = _stage(session, epochs)
    report = session.finish()
    assert report is not None
    assert half is not None
    true_j = sum(Fraction(watts) for watts in WATTS.values()) * Fraction(clock.now_s - _BEGAN_S)
    spans_j = math.fsum(_recorded_j(folder / "soak"))
    return Soak(
        days=(clock.now_s - _BEGAN_S) / 86_400,
        steps=report.phases["train"].steps,
        half=half,
        end=end,
        total_error=abs(float(Fraction(report.total.total_j) / true_j - 1)),
        parts_error=abs(float(Fraction(spans_j) / true_j - 1)),
    )


def _meters(clock: VirtualClock) -> Iterator[StandInCounter]:
    for kind, watts in WATTS.items():
        device = Device(f"{kind}:1", kind, kind, "measured", "a counter")  # type: ignore[arg-type]
        yield StandInCounter(clock, lambda time_s, watts=watts: watts * time_s, device=device)  # type: ignore[misc]


def _stage(session: Session, epochs: int) -> Stage:
    gc.collect()
    folder = session.folder
    assert folder is not None
    return Stage(
        epochs,
        psutil.Process().memory_info().rss,
        len(session._ledger.timeline),  # noqa: SLF001  # what is to be bounded
        (folder / "events.jsonl").stat().st_size,
        (folder / "summary.json").stat().st_size,
    )


def _recorded_j(folder: Path) -> Iterator[float]:
    with (folder / "events.jsonl").open(encoding="utf-8") as lines:
        for event in map(json.loads, lines):
            if event["event"] == "span":
                yield from event["joules"].values()


def table(run: Soak) -> Iterator[str]:
    """The figures as the README shows them."""
    yield f"{run.steps:,} steps in {run.end.epochs:,} epochs, {run.days:.1f} days"
    yield ""
    yield "| | half way | end |"
    yield "|---|---|---|"
    yield f"| memory of the process, MB | {run.half.rss_bytes / 1e6:.1f} | {run.end.rss_bytes / 1e6:.1f} |"
    yield f"| spans in memory | {run.half.spans} | {run.end.spans} |"
    yield f"| events.jsonl, bytes an epoch | {_per_epoch(run.half)} | {_per_epoch(run.end)} |"
    yield f"| summary.json, bytes | {run.half.summary_bytes} | {run.end.summary_bytes} |"
    yield f"| error of the total | | {run.total_error:.1e} |"
    yield f"| error of the sum of all spans in the record | | {run.parts_error:.1e} |"


def _per_epoch(stage: Stage) -> int:
    return round(stage.events_bytes / stage.epochs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print("\n".join(table(soak(Path(name), arguments.steps, arguments.epochs))))
