"""What a kill at any moment leaves of a record: many measured processes, killed by SIGKILL at random moments.

Each process trains on a stand-in GPU whose true energy is known. What its folder tells afterwards is compared with what
the GPU had drawn when the kill was sent, as time: how long before the kill the true energy was what the folder says.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from standins import nvml
from trainwatt.api import measure
from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun

WAVE = nvml.Square(100, 400, 0.7)
LONGEST_S = 4.0  # after which a process is killed at the latest
_AT_ONCE = 4
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Kill:
    """What one kill left.

    Attributes:
        lived_s: from the beginning of the run to the kill.
        behind_s: what of that the folder does not tell; None where it cannot be read.
    """

    lived_s: float
    behind_s: float | None


def train(folder: Path) -> None:
    """A training without an end; runs in a process of its own."""
    with measure(zone="FR", output_dir=folder.parent, run_name=folder.name, verbose=False, devices=("gpu",)) as run:
        for _ in run.epochs(1_000_000):
            for _ in range(20):
                time.sleep(0.005)
                run.step()
            with run.phase("validate"):
                time.sleep(0.02)


def kills(count: int, seed: int, at_once: int = _AT_ONCE) -> list[Kill]:
    """Start and kill so many processes, several at a time."""
    draw = random.Random(seed)
    moments_s = [draw.uniform(0, LONGEST_S) for _ in range(count)]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(at_once) as pool:
        where = Path(name)
        machine = nvml.Machine((nvml.h100(WAVE, noise_w=0.0),), origin_s=time.perf_counter())
        os.environ |= nvml.environment(machine, nvml.build(where / "nvml"), where)
        server = multiprocessing.get_context("forkserver")
        loaded = ["pynvml", "trainwatt.power.nvidia.discovery", "trainwatt.tracking.session"]
        server.set_forkserver_preload([__name__, *loaded])

        def one(number: int) -> Kill:
            process = server.Process(target=train, args=(where / f"run-{number}",))
            process.start()
            return _killed(process, where / f"run-{number}", moments_s[number], machine)

        return list(pool.map(one, range(count)))


def _killed(process: multiprocessing.process.BaseProcess, folder: Path, after_s: float, machine: nvml.Machine) -> Kill:
    deadline_s = time.perf_counter() + _PATIENCE_S
    while not (folder / "events.jsonl").exists() and time.perf_counter() < deadline_s:
        time.sleep(0.001)
    time.sleep(after_s)
    killed_s = time.perf_counter()
    process.kill()
    process.join()
    wall_ahead_s = time.time() - time.perf_counter()
    try:
        run = read_run(folder)
    except (OSError, ValueError):
        return Kill(after_s, None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    began_s = run.events[0]["began_unix_s"] - wall_ahead_s
    return Kill(killed_s - began_s, killed_s - _time_of(run, began_s, killed_s, machine))


def _time_of(run: RecordedRun, began_s: float, killed_s: float, machine: nvml.Machine) -> float:
    """When the true energy since the beginning was what the folder tells; the energy only grows."""
    told_j = run.summary["total_j"]
    low_s, high_s = began_s, killed_s + LONGEST_S
    for _ in range(60):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (middle_s, high_s) if machine.truth_j(began_s, middle_s) < told_j else (low_s, middle_s)
    return low_s


def table(found: list[Kill]) -> Iterator[str]:
    """The figures as the README shows them."""
    behind_s = sorted(kill.behind_s for kill in found if kill.behind_s is not None)
    yield "| kills | readable folders | behind the kill, median | most | ahead, most |"
    yield "|---|---|---|---|---|"
    figures = (f"{behind_s[len(behind_s) // 2]:.2f} s", f"{behind_s[-1]:.2f} s", f"{max(0.0, -behind_s[0]):.2f} s")
    yield f"| {len(found)} | {len(behind_s)} | {' | '.join(figures)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("\n".join(table(kills(arguments.kills, arguments.seed))))
