"""Measured processes that get a signal at random moments, also while the end of their record is being written.

Each process trains on a stand-in GPU with known energy, and writes its record to a disk that may be slow. After its
death, the energy in its run folder is converted to a time: the moment at which the GPU had drawn that energy. The
distance from this moment to the signal is what was lost.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from standins import nvml, slow_disk
from trainwatt.api import measure
from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun

Moment = Literal["training", "end"]

WAVE = nvml.Square(100, 400, 0.7)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Delay of each call that changes a file; the end of a record makes about ten.
DISKS = {"fast": 0.0, "slow": 0.02, "stalling": 0.2}
# A signal in training comes within this time after the record has begun.
LONGEST_S = 4.0
# Likewise, a signal at the end of the run after its last step.
_END_S = {"fast": 0.6, "slow": 1.2, "stalling": 3.5}
_SHORTEST_S = 0.3
_AT_ONCE = 4
_PATIENCE_S = 30.0
_TWICE = 1 / 3
_AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class Try:
    """One process and its signal.

    Attributes:
        number: of the signal.
        moment: part of the run in which it comes.
        disk: one of :data:`DISKS`.
        after_s: time from the beginning of that part to the signal.
        again_s: time to the same signal once more; None if it comes only once.
    """

    number: signal.Signals
    moment: Moment
    disk: str
    after_s: float
    again_s: float | None


@dataclass(frozen=True, slots=True)
class Kill:
    """Result of one try.

    Attributes:
        tried: the try.
        status: what the record says; None if it cannot be read.
        is_complete: True if the record has an end.
        behind_s: time before the signal, or before the end of the run, that the record does not cover.
    """

    tried: Try
    status: str | None
    is_complete: bool = False
    behind_s: float = 0.0

    @property
    def has_right_status(self) -> bool:
        """True if the status tells what happened: no more than a kill leaves a record without an end."""
        if self.tried.moment == "end" and self.status == "finished":
            return True
        if self.tried.number == signal.SIGKILL:
            return self.status == ("interrupted" if self.is_complete else "killed")
        return self.status == "interrupted" and self.is_complete

    def is_held(self, most_s: float) -> bool:
        """Return True if the record is whole, says what happened, and lacks at most so many seconds."""
        return self.has_right_status and self.behind_s <= most_s


def tries(count: int, seed: int) -> list[Try]:
    """Draw tries: every signal in each part of the run, on each disk."""
    draw = random.Random(seed)
    return [_try(draw, index) for index in range(count)]


def _try(draw: random.Random, index: int) -> Try:
    number = SIGNALS[index % len(SIGNALS)]
    moment: Moment = "end" if index // len(SIGNALS) % 2 else "training"
    # What a kill loses on a disk that needs seconds for a summary is up to the disk.
    disk = draw.choice(
        [name for name in DISKS if name != "stalling" or (number, moment) != (signal.SIGKILL, "training")]
    )
    if number == signal.SIGKILL and disk == "stalling":
        disk = "slow"
    after_s = draw.uniform(0, LONGEST_S if moment == "training" else _END_S[disk])
    again_s = draw.uniform(0, _AGAIN_S) if number != signal.SIGKILL and draw.random() < _TWICE else None
    return Try(number, moment, disk, after_s, again_s)


def train(folder: Path, marks: Path, seconds: float) -> None:
    """Train for some seconds or until a signal comes, in a process of its own."""
    # Nobody reads what an interrupted program prints.
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # it is open until the end
    name = folder.name
    with measure(zone="FR", output_dir=folder.parent, run_name=name, verbose=False, devices=("gpu",)) as run:
        (marks / f"{name}.began").touch()
        end_s = time.monotonic() + seconds
        for _ in run.epochs(1_000_000):
            for _ in range(20):
                time.sleep(0.005)
                run.step()
            with run.phase("validate"):
                time.sleep(0.02)
            if time.monotonic() >= end_s:
                break
        (marks / f"{name}.ended").touch()


def kills(count: int, seed: int, at_once: int = _AT_ONCE) -> list[Kill]:
    """Start processes, and send each one its signal.

    Args:
        count: number of processes.
        seed: of the signals, the disks and the moments.
        at_once: processes that run at the same time.
    """
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(at_once) as pool:
        where = Path(name)
        machine = nvml.Machine((nvml.h100(WAVE, noise_w=0.0),), origin_s=time.perf_counter())
        with _environment(nvml.environment(machine, nvml.build(where / "nvml"), where) | _disks(where)):
            server = multiprocessing.get_context("forkserver")
            loaded = ["pynvml", "trainwatt.power.nvidia.discovery", "trainwatt.tracking.session"]
            server.set_forkserver_preload([__name__, *loaded])

            def one(numbered: tuple[int, Try]) -> Kill:
                index, tried = numbered
                return _result(server, tried, where / tried.disk / f"run-{index}", where, machine)

            return list(pool.map(one, enumerate(tries(count, seed))))


def _disks(where: Path) -> dict[str, str]:
    """Make the disks; return the environment in which they are slow."""
    lines = []
    for name, delay_s in DISKS.items():
        (where / name).mkdir()
        lines += [f"{where / name}\t{slow_disk.WRITES}\tdelay\t{delay_s}\n"] if delay_s else []
    control = where / "disks"
    control.write_text("".join(lines), encoding="utf-8")
    return slow_disk.SlowDisk(slow_disk.build(where), where, control).environment


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started."""
    before = os.environ.copy()
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def _result(
    server: multiprocessing.context.ForkServerContext, tried: Try, folder: Path, marks: Path, machine: nvml.Machine
) -> Kill:
    seconds = _SHORTEST_S if tried.moment == "end" else 1e9
    process = server.Process(target=train, args=(folder, marks, seconds))
    process.start()
    assert process.pid is not None
    mark = marks / f"{folder.name}.{'ended' if tried.moment == 'end' else 'began'}"
    deadline_s = time.perf_counter() + _PATIENCE_S
    while not mark.exists() and time.perf_counter() < deadline_s:
        time.sleep(0.001)
    marked_s = time.perf_counter()
    time.sleep(tried.after_s)
    sent_s = time.perf_counter()
    _send(process, tried)
    process.join()
    wall_ahead_s = time.time() - time.perf_counter()
    try:
        run = read_run(folder)
    except (OSError, ValueError):
        return Kill(tried, None)
    began_s = run.events[0]["began_unix_s"] - wall_ahead_s
    ended_s = marked_s if tried.moment == "end" else sent_s
    is_complete = any(event["event"] == "end" for event in run.events)
    return Kill(tried, run.status, is_complete, ended_s - _covered_until_s(run, began_s, ended_s, machine))


def _send(process: multiprocessing.process.BaseProcess, tried: Try) -> None:
    assert process.pid is not None
    for pause_s in (0.0, tried.again_s):
        if pause_s is not None:
            time.sleep(pause_s)
            # It has not been waited for yet, so that its id is its own.
            if process.exitcode is None:
                os.kill(process.pid, tried.number)


def _covered_until_s(run: RecordedRun, began_s: float, killed_s: float, machine: nvml.Machine) -> float:
    """Find the time at which the true energy equals the recorded one, by bisection; the energy only grows."""
    recorded_j = run.summary["total_j"]
    low_s, high_s = began_s, killed_s + LONGEST_S
    for _ in range(60):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (middle_s, high_s) if machine.truth_j(began_s, middle_s) < recorded_j else (low_s, middle_s)
    return low_s
