"""How far from the truth trackers are, on GPUs whose true energy is known.

The GPUs are a C library that nvidia-ml-py loads in the place of the driver's (see ``standins/nvml``), in real time.
First table: a board whose energy counter is renewed every 100 ms, epochs of 3.37 s, each tracker in a process of its
own, all at the same time. Second table: boards without a counter, trainwatt alone, the whole run.

usage: accuracy.py [--epochs N] [--trackers NAME ...]
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # the stand-ins are not installed

from standins.nvml import Board, Constant, Machine, Square, Wave, build, bursts, environment, h100, p100, rtx4090

EPOCH_S = 3.37  # no multiple of the refresh
LEAD_S = 1.5  # as the setup of a training is
WAVES = {
    "constant 250 W": Constant(250.0),
    "square 60/300 W, 1 s": Square(60.0, 300.0, 1.0, phase_s=0.013),
    "square 60/300 W, 5 s": Square(60.0, 300.0, 5.0, phase_s=0.013),
    # no multiple of the refresh
    "square 60/300 W, 0.73 s": Square(60.0, 300.0, 0.73, phase_s=0.013),
    # does not repeat itself
    "bursts": bursts(60.0, 300.0),
}
REAL = {"latency_us": 200.0, "counter_phase_s": 0.037}


class Epoch(NamedTuple):
    """What an epoch drew according to a tracker.

    Attributes:
        begin_s, end_s: on the monotonic clock.
        logged_j: joules that the tracker told at the epoch's end.
        final_j: joules that it tells of this epoch in the end.
    """

    begin_s: float
    end_s: float
    logged_j: float
    final_j: float


def loop(epochs: int, begin: Callable[[], object], end: Callable[[], float]) -> list[Epoch]:
    """Epochs that do nothing but last; what they drew according to a tracker, which tells it once."""
    figures = []
    time.sleep(LEAD_S)
    for _ in range(epochs):
        begin()
        begin_s = time.perf_counter()
        time.sleep(EPOCH_S)
        end_s = time.perf_counter()
        joules = end()
        figures.append(Epoch(begin_s, end_s, joules, joules))
    return figures


def run_trainwatt(epochs: int) -> list[Epoch]:
    """As a plugin drives it; final figures from the run folder, where readings after the epoch's end are included."""
    from trainwatt.records.run_folder import read_events
    from trainwatt.tracking.session import Session
    from trainwatt.tracking.settings import Settings

    session = Session(Settings.check(devices="gpu", output_dir=tempfile.mkdtemp(), zone="FR"))

    def end() -> float:
        session.end("train")
        snapshot = session.end_epoch()
        return snapshot.epoch["train"].total_j

    figures = loop(epochs, lambda: session.begin("train"), end)
    session.finish()
    assert session.folder is not None
    spans = [event for event in read_events(session.folder) if event.get("phase") == "train"]
    joules = [sum(event["joules"].values()) for event in spans]
    return [figure._replace(final_j=final_j) for figure, final_j in zip(figures, joules, strict=True)]


def run_zeus(epochs: int) -> list[Epoch]:
    """A window for each epoch."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0])
    return loop(
        epochs,
        lambda: monitor.begin_window("epoch", sync_execution=False),
        lambda: float(sum(monitor.end_window("epoch", sync_execution=False).gpu_energy.values())),
    )


def run_codecarbon(epochs: int) -> list[Epoch]:
    """A task for each epoch."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(country_iso_code="FRA", log_level="critical", save_to_file=False)
    tracker.start()
    number = iter(range(epochs))
    figures = loop(
        epochs,
        lambda: tracker.start_task(f"epoch {next(number)}"),
        lambda: float(tracker.stop_task().gpu_energy) * 3.6e6,
    )
    tracker.stop()
    return figures


def run_carbontracker(epochs: int) -> list[Epoch]:
    """Its two calls an epoch; its figures without its PUE."""
    from carbontracker import constants
    from carbontracker.tracker import CarbonTracker

    # one epoch more than there are: after the last one it throws its figures away
    tracker = CarbonTracker(epochs=epochs + 1, monitor_epochs=-1, epochs_before_pred=0, components="gpu", verbose=0)

    def end() -> float:
        tracker.epoch_end()
        return 0.0

    figures = loop(epochs, tracker.epoch_start, end)
    joules = tracker.tracker.total_energy_per_epoch() / constants.PUE_2023 * 3.6e6
    # It tells nothing at an epoch's end.
    return [figure._replace(logged_j=math.nan, final_j=float(joules[epoch])) for epoch, figure in enumerate(figures)]


TRACKERS = {
    "trainwatt": run_trainwatt,
    "Zeus": run_zeus,
    "CodeCarbon": run_codecarbon,
    "Carbontracker": run_carbontracker,
}


class Errors(NamedTuple):
    """Relative errors of a tracker: of the worst epoch as logged and in the end, and of the total."""

    logged: float
    final: float
    total: float


def measure(board: Board, trackers: list[str], epochs: int, library: Path) -> Iterator[tuple[str, Errors]]:
    """Run trackers at once on a board, and yield the errors of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine = Machine((board,), origin_s=time.perf_counter())
        variables = {**os.environ, **environment(machine, library, folder)}
        processes = {
            tracker: subprocess.Popen(
                [sys.executable, __file__, "--tracker", tracker, "--epochs", str(epochs)],
                env=variables,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for tracker in trackers
        }
        for tracker, process in processes.items():
            printed, _ = process.communicate()
            figures = [Epoch(*figure) for figure in json.loads(printed.splitlines()[-1])]
            truth = [machine.truth_j(figure.begin_s, figure.end_s) for figure in figures]
            pairs = list(zip(figures, truth, strict=True))
            yield (
                tracker,
                Errors(
                    max((figure.logged_j / true_j - 1 for figure, true_j in pairs), key=abs),
                    max((figure.final_j / true_j - 1 for figure, true_j in pairs), key=abs),
                    sum(figure.final_j for figure in figures) / sum(truth) - 1,
                ),
            )


def percent(value: float) -> str:
    """With sign and two decimals; a dash if there is no such figure."""
    return "-" if math.isnan(value) else f"{100 * value:+.2f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--trackers", nargs="+", choices=TRACKERS, default=list(TRACKERS))
    parser.add_argument("--tracker", choices=TRACKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tracker:
        logging.disable(logging.CRITICAL)
        print(json.dumps(TRACKERS[options.tracker](options.epochs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        with_counter(library, options.epochs, options.trackers)
        without_counter(library, options.epochs)


def with_counter(library: Path, epochs: int, trackers: list[str]) -> None:
    """The first table."""
    print(f"Energy counter renewed every 100 ms, {epochs} epochs of {EPOCH_S} s: error in %\n")
    print(f"| wave | tracker | worst epoch, as logged | worst epoch, final | total |\n|{'---|' * 5}")
    for name, wave in WAVES.items():
        for tracker, errors in measure(h100(wave, **REAL), trackers, epochs, library):
            print(f"| {name} | {tracker} | {' | '.join(map(percent, errors))} |", flush=True)


def without_counter(library: Path, epochs: int) -> None:
    """The second table."""
    none: dict[str, Any] = {"counter_refresh_s": 0.0, "latency_us": 200.0}
    boards = {
        "sample buffer (P100)": (p100, none),
        "sample buffer, trailing mean of 1 s": (rtx4090, none),
        "polling only": (p100, none | {"samples": 0}),
        "polling only, trailing mean of 1 s": (rtx4090, none | {"samples": 0}),
    }
    print(f"\nNo energy counter, trainwatt, {epochs * EPOCH_S:.0f} s: error of the total in %\n")
    print(f"| board | {' | '.join(WAVES)} |\n|{'---|' * (len(WAVES) + 1)}")

    def total_error(case: tuple[Callable[..., Board], dict[str, Any], Wave]) -> str:
        make, facts, wave = case
        ((_, errors),) = measure(make(wave, **facts), ["trainwatt"], epochs, library)
        return percent(errors.total)

    with ThreadPoolExecutor(8) as pool:  # each waits for a process that sleeps
        for name, (make, facts) in boards.items():
            cells = pool.map(total_error, [(make, facts, wave) for wave in WAVES.values()])
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
