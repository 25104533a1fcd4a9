"""A driver that does not return, in real time: it delays one start by a second, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from standins import nvml as standin
from standins.nvml import Constant, h100
from trainwatt.power.driver_call import UnresponsiveError, answers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in driver is a library for Linux")

# Two runs at once in a process, a forked one, and one after the driver has answered, if it ever does.
PROGRAM = """
import json, os, sys, time
from trainwatt.api import measure

def run():
    began_s = time.perf_counter()
    run = measure(output_dir=None, verbose=False, zone="FR", devices=("gpu", "ram"))
    run.start()
    started_s = time.perf_counter()
    time.sleep(0.3)
    run.stop()
    kinds = [device["kind"] for device in run.summary["devices"]]
    return {"start_s": started_s - began_s, "end_s": time.perf_counter() - started_s - 0.3, "kinds": kinds}

runs = [run(), run()]
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, json.dumps(run()).encode())
    os._exit(0)
os.waitpid(child, 0)
runs.append(json.loads(os.read(read, 10_000)))
time.sleep(max(0.0, float(sys.argv[1]) - time.perf_counter()))
runs.append(run())
print(json.dumps(runs))
"""


def runs_with(machine: standin.Machine, folder: Path, library: Path, until_s: float = 0.0) -> list[dict[str, Any]]:
    environment = standin.environment(machine, library, folder)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(until_s)],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The reason is given by each run whose driver or GPU is silent.
    assert "NVML cannot be read:" in done.stderr
    assert "within 1 s" in done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, nvml_library: standin.Library) -> Path:
    return standin.build(tmp_path_factory.getbasetemp() / "nvml")


@pytest.mark.slow
def test_a_driver_that_hangs_at_its_start_delays_one_start_of_a_process_by_a_second(
    tmp_path: Path, library: Path
) -> None:
    """Each run took 30 s longer."""
    until_s = time.perf_counter() + 12.0
    machine = standin.Machine(
        (h100(Constant(250.0)),), origin_s=time.perf_counter(), init_hang_to_s=until_s - time.perf_counter()
    )
    first, second, forked, later = runs_with(machine, tmp_path, library, until_s + 0.5)
    assert 0.9 < first["start_s"] < 4.0
    assert second["start_s"] < 0.9
    assert forked["start_s"] < 4.0
    assert [run["kinds"] for run in (first, second, forked)] == [["ram"]] * 3
    assert sorted(later["kinds"]) == ["gpu", "ram"]
    assert later["start_s"] < 0.9
    assert max(run["end_s"] for run in (first, second, forked, later)) < 1.5


@pytest.mark.slow
def test_a_gpu_that_hangs_when_it_is_opened_costs_that_gpu_only(tmp_path: Path, library: Path) -> None:
    machine = standin.Machine(
        (h100(Constant(250.0)), h100(Constant(250.0), hang_from_s=-1e9)), origin_s=time.perf_counter()
    )
    first, second, forked, later = runs_with(machine, tmp_path, library)
    assert [sorted(run["kinds"]) for run in (first, second, forked, later)] == [["gpu", "ram"]] * 4
    assert 0.9 < first["start_s"] < 4.0
    assert max(second["start_s"], later["start_s"]) < 0.9


def test_calls_that_are_answered_one_after_the_other_are_all_waited_for() -> None:
    """GPUs that wake up: each takes 0.4 s longer than the one before, 1.6 s together."""
    calls = {("waking", number): lambda number=number: time.sleep(0.4 * number) or number for number in range(5)}
    assert answers(calls) == {("waking", number): number for number in range(5)}


@pytest.mark.slow
def test_a_call_that_does_not_return_is_waited_for_once_and_asked_again_after_it_has() -> None:
    until_s = time.perf_counter() + 2.5
    asked: list[float] = []

    def call() -> int:
        asked.append(time.perf_counter())
        time.sleep(max(0.0, until_s - time.perf_counter()))
        return 7

    began_s = time.perf_counter()
    (silent,) = answers(
        {
            "asleep": call,
        }
    ).values()
    first_s = time.perf_counter()
    (still,) = answers({"asleep": call}).values()
    assert isinstance(silent, UnresponsiveError)
    assert isinstance(still, UnresponsiveError)
    assert 0.9 < first_s - began_s < 2.4
    assert time.perf_counter() - first_s < 0.2
    time.sleep(max(0.0, until_s + 0.2 - time.perf_counter()))
    assert answers({"asleep": call}) == {"asleep": 7}
    assert len(asked) == 2


def test_what_a_call_raises_is_its_answer() -> None:
    error = ZeroDivisionError()

    def fail() -> None:
        raise error

    found = answers({"failing": fail, "leaving": lambda: sys.exit(3), "good": lambda: 1})
    assert found["failing"] is error
    assert isinstance(found["leaving"], RuntimeError)
    assert found["good"] == 1
