"""What a run is said to take after its first epochs, and what it took: real trainings in three frameworks.

Each training is a process of its own (``benchmarks/projection/trainings.py``). Its power comes from a stand-in GPU,
whose power goes up and down (see ``standins/nvml``), or from the estimate of the processor. The run folder then holds
what trainwatt projected after each epoch; from the same record of epochs follow

* Carbontracker's prediction: the mean of the epochs so far times their number (``carbontracker/predictor.py`` 2.4.7),
  compared with the energy of all epochs alone, since it does not see what lies outside of them;
* the linear mean: all energy so far, divided by the epochs so far, times their number;
* STEP: waits for the fourth epoch, and has all epochs after it cost what that one did.

usage: projection.py [--only KIND] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the stand-ins are not installed

from standins.nvml import Machine, Ramp, Square, Trace, Wave, build, bursts, environment, h100, training
from trainwatt.records.run_folder import read_events, read_summary

TRAININGS = Path(__file__).with_name("projection") / "trainings.py"
SEED = 7_000  # other runs than those on which the constants were chosen
WAVES: dict[str, Wave] = {
    "square 60/300 W, 0.2 s": Square(60.0, 300.0, 0.2, phase_s=0.013),
    "steps of 20 ms": training(60.0, 300.0, steps=20, step_s=0.02, pause_s=0.1),
    "bursts of 10 ms": bursts(150.0, 300.0, slot_s=0.01, share=0.5),
    "270 to 300 W in 30 s": Ramp(270.0, 300.0, 5.0, 30.0),
    "240/300 W, 0.5 s": Trace([(0.35, 300.0), (0.15, 240.0)]),
}
KINDS = {  # kind: runs on a stand-in GPU, runs on the processor
    "lightning": (2, 1),
    "lightning_second": (1, 1),
    "lightning_compile": (1, 1),
    "lightning_cached": (1, 0),
    "lightning_steps": (1, 1),
    "keras": (2, 1),
    "keras_conv": (1, 1),
    "keras_torch": (1, 1),
    "keras_cached": (1, 0),
    "hf": (2, 1),
    "hf_compile": (1, 1),
    "hf_one": (2, 1),
}


@dataclass(frozen=True)
class Case:
    """A run to make."""

    kind: str
    power: str
    wave: str
    seed: int
    epochs: int
    size: float


@dataclass
class Outcome:
    """How far projections of a run were from what it took, relative; by the number of epochs that were closed."""

    case: Case
    ours: dict[int, float] = field(default_factory=dict)
    held: dict[int, bool] = field(default_factory=dict)
    carbontracker: dict[int, float] = field(default_factory=dict)
    linear: dict[int, float] = field(default_factory=dict)
    step: float | None = None


def cases(only: str | None) -> Iterable[Case]:
    """All runs, of differing length and size."""
    dice, number = random.Random(SEED), 0
    for kind, counts in KINDS.items():
        for power, count in zip(("wave", "cpu"), counts, strict=True):
            for _ in range(count):
                wave = dice.choice(list(WAVES)) if power == "wave" else ""
                case = Case(kind, power, wave, SEED + number, dice.choice((8, 9, 10)), dice.choice((0.8, 1.0, 1.2)))
                number += 1
                if only in (None, kind):
                    yield case


def make(case: Case, folder: Path, library: Path) -> None:
    """Train, in a process of its own."""
    folder.mkdir()
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    if case.wave:
        board = h100(WAVES[case.wave], latency_us=200.0, counter_phase_s=0.037)
        variables |= environment(Machine((board,), origin_s=time.perf_counter()), library, folder)
    options = ["--power", case.power, "--epochs", str(case.epochs), "--size", str(case.size)]
    command = [sys.executable, str(TRAININGS), case.kind, str(case.seed), str(folder), *options]
    subprocess.run(command, env=variables, check=True, capture_output=True)


def outcome(case: Case, run: Path) -> Outcome:
    """Compare what was projected with what it came to."""
    events, total_j = list(read_events(run)), read_summary(run)["total_j"]
    result = Outcome(case)
    for event in events:
        if event["event"] == "projection" and event["remaining_s"] > 0 and event["epochs"] not in result.ours:
            kwh = event["total_kwh"]
            result.ours[event["epochs"]] = kwh["central"] * 3.6e6 / total_j - 1
            result.held[event["epochs"]] = kwh["low"] * 3.6e6 <= total_j <= kwh["high"] * 3.6e6
    epochs, before = _epochs(events)
    if case.kind == "lightning_steps":  # which has no number of epochs to multiply with
        return result
    count, all_j = len(epochs), sum(epochs)
    for made in range(1, count):
        result.carbontracker[made] = statistics.fmean(epochs[:made]) * count / all_j - 1
        result.linear[made] = (before + sum(epochs[:made])) / made * count / total_j - 1
    if count > 4:
        result.step = (before + sum(epochs[:4]) + (count - 4) * epochs[3]) / total_j - 1
    return result


def _epochs(events: Iterable[dict[str, Any]]) -> tuple[list[float], float]:
    """Joules of each epoch, and of what came before the first."""
    joules: dict[int, float] = {}
    before = 0.0
    for event in events:
        if event["event"] == "span":
            drawn = sum(event["joules"].values())
            if event["phase"] in ("setup", "sanity_check"):
                before += drawn
            else:
                joules[event["epoch"]] = joules.get(event["epoch"], 0.0) + drawn
    trained = {event["epoch"] for event in events if event["event"] == "span" and event["phase"] == "train"}
    return [joules[epoch] for epoch in sorted(trained)], before


def percent(values: Sequence[float], quantile: float) -> str:
    """A quantile of the absolute errors."""
    ordered = sorted(map(abs, values))
    if not ordered:
        return "-"
    place = quantile * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return f"{100 * (ordered[low] + (place - low) * (ordered[high] - ordered[low])):.1f}"


def table(outcomes: Sequence[Outcome]) -> None:
    """Print the tables."""
    print(
        "\n| run | power | after epoch 1 | 2 | 3 | Carbontracker, 1 | 3 | STEP, 4 |\n|---|---|---|---|---|---|---|---|"
    )
    for each in outcomes:
        ours = [_cell(each, made) for made in ((0,) if each.case.kind == "hf_one" else (1, 2, 3))]
        peers = [each.carbontracker.get(1), each.carbontracker.get(3), each.step]
        cells = [*ours, *[""] * (3 - len(ours)), *("" if peer is None else f"{100 * peer:+.0f}" for peer in peers)]
        print(f"| {each.case.kind} | {each.case.wave or 'processor'} | {' | '.join(cells)} |")
    print(
        "\n| error in % | first epoch: median | p90 | third: median | p90 | fourth: median |\n|---|---|---|---|---|---|"
    )
    first = [each.ours[min(each.ours)] for each in outcomes]
    ours = [first, *([each.ours[made] for each in outcomes if made in each.ours] for made in (3, 4))]
    rows = {
        "trainwatt": ours,
        "Carbontracker": [
            [each.carbontracker[made] for each in outcomes if made in each.carbontracker] for made in (1, 3, 4)
        ],
        "linear mean": [[each.linear[made] for each in outcomes if made in each.linear] for made in (1, 3, 4)],
        "STEP": [[], [], [each.step for each in outcomes if each.step is not None]],
    }
    for name, (one, three, four) in rows.items():
        cells = [percent(one, 0.5), percent(one, 0.9), percent(three, 0.5), percent(three, 0.9), percent(four, 0.5)]
        print(f"| {name} | {' | '.join(cells)} |")
    held = [each.held[min(each.held)] for each in outcomes]
    later = [each.held[made] for each in outcomes for made in (2, 3) if made in each.held]
    print(f"\n{len(outcomes)} runs. The 90 % interval held the truth in {100 * statistics.fmean(held):.0f} % of them")
    print(f"at the first projection, and in {100 * statistics.fmean(later):.0f} % after the second and third epoch.")


def _cell(each: Outcome, made: int) -> str:
    made = min(each.ours) if made == 0 else made
    return f"{100 * each.ours[made]:+.1f}{'' if each.held[made] else ' *'}" if made in each.ours else ""


def cost() -> None:
    """Print how long an update takes."""
    from trainwatt.power.device import Found
    from trainwatt.projection.plan import Plan
    from trainwatt.tracking.session import Session
    from trainwatt.tracking.settings import Settings

    took = []
    for project_after in ("epoch", None):
        session = Session(
            Settings.check(output_dir=None, zone="FR", verbose=False, project_after=project_after), found=Found()
        )
        session.plan(Plan(epochs=400, validate_epochs=1))
        times = []
        for epoch in range(60):
            session.begin("train", epoch=epoch)
            for _ in range(20):
                time.sleep(0.01)
                session.step()
            session.end("train")
            began_s = time.thread_time()
            session.end_epoch()
            times.append(time.thread_time() - began_s)
        session.finish()
        took.append(1e3 * statistics.median(times))
    print(f"\nAn update takes {took[0] - took[1]:.2f} ms of the {took[0]:.2f} ms at the end of an epoch.")


def main() -> None:
    """Make the runs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=KINDS, help="one kind of training")
    parser.add_argument("--keep", type=Path, help="leave the run folders here; those that are there are not made again")
    options = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as temporary:
        root: Path = options.keep or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        library = build(root / "nvml")
        for case in cases(options.only):
            folder = root / f"{case.kind}-{case.seed}"
            if not folder.exists():
                make(case, folder, library)
            outcomes.append(outcome(case, folder / "run"))
            errors = {made: f"{100 * error:+.1f}" for made, error in outcomes[-1].ours.items()}
            print(case, errors, file=sys.stderr, flush=True)
    table(outcomes)
    cost()


if __name__ == "__main__":
    main()
