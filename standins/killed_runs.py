"""Measured processes that are killed by SIGKILL at random moments.

Each process trains on a stand-in GPU with known energy. After the kill, the energy in its run folder is converted to a
time: the moment at which the GPU had drawn that energy. The distance from this moment to the kill is what was lost.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from standins import nvml
from trainwatt.api import measure
from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun

WAVE = nvml.Square(100, 400, 0.7)
# each process is killed within this time after its record begins
LONGEST_S = 4.0
_AT_ONCE = 4
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Kill:
    """Result of one kill.

    Attributes:
        lived_s: time from the beginning of the run to the kill.
        behind_s: time before the kill that the run folder does not cover; None if the folder cannot be read.
    """

    lived_s: float
    behind_s: float | None


def train(folder: Path) -> None:
    """Train until killed, in a process of its own."""
    with measure(zone="FR", output_dir=folder.parent, run_name=folder.name, verbose=False, devices=("gpu",)) as run:
        for _ in run.epochs(1_000_000):
            for _ in range(20):
                time.sleep(0.005)
                run.step()
            with run.phase("validate"):
                time.sleep(0.02)


def kills(count: int, seed: int, at_once: int = _AT_ONCE) -> list[Kill]:
    """Start and kill processes.

    Args:
        count: number of processes.
        seed: of the random moments at which they are killed.
        at_once: processes that run at the same time.
    """
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
    return Kill(killed_s - began_s, killed_s - _covered_until_s(run, began_s, killed_s, machine))


def _covered_until_s(run: RecordedRun, began_s: float, killed_s: float, machine: nvml.Machine) -> float:
    """Find the time at which the true energy equals the recorded one, by bisection; the energy only grows."""
    recorded_j = run.summary["total_j"]
    low_s, high_s = began_s, killed_s + LONGEST_S
    for _ in range(60):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (middle_s, high_s) if machine.truth_j(began_s, middle_s) < recorded_j else (low_s, middle_s)
    return low_s
