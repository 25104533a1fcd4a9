"""Weeks of training in a minute of virtual time, on the real sampler and session.

The run measures what grows with its length (memory, files) and how rounding affects the sums. The true energy is known
in exact arithmetic.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import psutil

from trainwatt.power.device import Device, Found
from trainwatt.sampling.sampler import Sampler
from trainwatt.testing import ScriptedCounter, VirtualClock
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

WATTS = {"gpu": 283.7, "cpu": 41.3}
STEPS = 10_000_000
EPOCHS = 6_000
# makes the run last three weeks
STEP_S = 0.1875
INTERVAL_S = 30.0
_BEGAN_S = 1000.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Size of a run at one moment.

    Attributes:
        epochs: completed epochs.
        rss_bytes: resident memory of the process.
        spans: spans of the timeline in memory.
        events_bytes: size of ``events.jsonl``.
        summary_bytes: size of ``summary.json``.
    """

    epochs: int
    rss_bytes: int
    spans: int
    events_bytes: int
    summary_bytes: int


@dataclass(frozen=True, slots=True)
class LongRun:
    """Results of a finished run.

    Attributes:
        days: simulated duration.
        steps: completed training steps.
        half: size of the run after half of the epochs.
        end: size of the run at its end.
        total_error: relative error of the total energy.
        parts_error: relative error of the sum of all recorded spans.
    """

    days: float
    steps: int
    half: Stage
    end: Stage
    total_error: float
    parts_error: float


def simulate(folder: Path, steps: int = STEPS, epochs: int = EPOCHS, step_s: float = STEP_S) -> LongRun:
    """Run a training in virtual time.

    Args:
        folder: parent of the run folder.
        steps: training steps in all epochs.
        epochs: number of epochs.
        step_s: duration of a step in virtual seconds.
    """
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
    return LongRun(
        days=(clock.now_s - _BEGAN_S) / 86_400,
        steps=report.phases["train"].steps,
        half=half,
        end=end,
        total_error=abs(float(Fraction(report.total.total_j) / true_j - 1)),
        parts_error=abs(float(Fraction(spans_j) / true_j - 1)),
    )


def _meters(clock: VirtualClock) -> Iterator[ScriptedCounter]:
    for kind, watts in WATTS.items():
        device = Device(f"{kind}:1", kind, kind, "measured", "a counter")  # type: ignore[arg-type]
        yield ScriptedCounter(clock, lambda time_s, watts=watts: watts * time_s, device=device)  # type: ignore[misc]


def _stage(session: Session, epochs: int) -> Stage:
    gc.collect()
    folder = session.folder
    assert folder is not None
    return Stage(
        epochs,
        psutil.Process().memory_info().rss,
        # no public property reports the size of the timeline, which has to stay bounded
        len(session._ledger.timeline),  # noqa: SLF001
        (folder / "events.jsonl").stat().st_size,
        (folder / "summary.json").stat().st_size,
    )


def _recorded_j(folder: Path) -> Iterator[float]:
    with (folder / "events.jsonl").open(encoding="utf-8") as lines:
        for event in map(json.loads, lines):
            if event["event"] == "span":
                yield from event["joules"].values()
