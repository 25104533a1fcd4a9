"""Effects of faults on a training and on its record, with real processes, signals and files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from standins import nvml as standin
from trainwatt.records.job_reader import read_run

TRAINING = Path(__file__).with_name("training.py")
WATTS = 250.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits of Linux")


class Training:
    """Measured process on two simulated GPUs of 250 W each."""

    def __init__(self, folder: Path, library: Path, seconds: float, what: str = "", **board: Any) -> None:
        self.folder = folder / "run"
        self.machine = standin.Machine(
            (standin.h100(standin.Constant(WATTS), noise_w=0.0), standin.a100(standin.Constant(WATTS), **board)),
            origin_s=time.perf_counter(),
        )
        environment = standin.environment(self.machine, library, folder)
        self.process = subprocess.Popen(
            [sys.executable, str(TRAINING), str(seconds), str(self.folder), what],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.stdout = self.process.stdout

    def trains(self) -> Training:
        while (line := self.stdout.readline()) != "training\n":
            assert line, "it ended before it trained"
        return self

    def rest(self) -> str:
        with self.stdout:
            text = self.stdout.read()
        self.process.wait()
        return text

    def device(self, index: int) -> dict[str, Any]:
        devices = {device["id"]: device for device in read_run(self.folder).summary["devices"]}
        found: dict[str, Any] = devices[f"gpu:{self.machine.uuid(index)}"]
        return found


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, nvml_library: standin.Library) -> Path:
    return standin.build(tmp_path_factory.getbasetemp() / "nvml")


def test_sigterm_completes_the_record_and_ends_the_process_as_before(tmp_path: Path, library: Path) -> None:
    training = Training(tmp_path, library, 60).trains()
    time.sleep(0.6)
    training.process.send_signal(signal.SIGTERM)
    training.rest()
    run = read_run(training.folder)
    assert training.process.returncode == -signal.SIGTERM
    assert run.status == "interrupted"
    assert [event["event"] for event in run.events][-1] == "end"


def test_a_handler_of_the_users_own_stays(tmp_path: Path, library: Path) -> None:
    training = Training(tmp_path, library, 60, "own handler").trains()
    training.process.send_signal(signal.SIGTERM)
    assert "own handler" in training.rest()
    assert training.process.returncode == 7
    assert read_run(training.folder).status == "interrupted"


def test_after_a_run_the_default_is_back(tmp_path: Path, library: Path) -> None:
    training = Training(tmp_path, library, 0.2)
    assert "handler True" in training.rest()
    assert training.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_a_kill_leaves_all_but_the_last_second(tmp_path: Path, library: Path, number: int) -> None:
    training = Training(tmp_path, library, 60).trains()
    time.sleep(1.5)
    training.process.send_signal(number)
    killed_s = time.time()
    training.rest()
    assert training.process.returncode == -number
    run = read_run(training.folder)
    assert run.status in ("running", "killed")
    lived_s = killed_s - json.loads((training.folder / "events.jsonl").read_text().splitlines()[0])["began_unix_s"]
    assert lived_s - 1.2 <= run.summary["seconds"] <= lived_s + 0.01


def test_a_full_disk_is_told_once_and_the_record_goes_on_when_there_is_room(tmp_path: Path, library: Path) -> None:
    training = Training(tmp_path, library, 3.0, "full disk")
    text = training.rest()
    assert training.process.returncode == 0, text
    assert text.count("cannot be written") == 1
    run = read_run(training.folder)
    assert run.status == "finished"
    epochs = [event["epoch"] for event in run.events if event["event"] == "span" and event["phase"] == "train"]
    assert epochs == list(range(len(epochs)))
    assert sum(
        event["joules"][f"gpu:{training.machine.uuid(0)}"] for event in run.events if event["event"] == "span"
    ) == (pytest.approx(training.device(0)["joules"]))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_folder_that_becomes_read_only_leaves_the_training_alone(disk: Path, library: Path) -> None:
    training = Training(disk, library, 3.0).trains()
    time.sleep(1.0)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    text = training.rest()
    assert training.process.returncode == 0, text
    assert text.count("cannot be written") == 1
    assert read_run(training.folder).summary["total_j"] > 0


def test_a_disk_that_is_really_full(disk: Path, library: Path) -> None:
    training = Training(disk, library, 3.0).trains()
    time.sleep(1.0)
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    time.sleep(1.5)
    half_way = read_run(training.folder).summary["total_j"]
    ballast.unlink()
    text = training.rest()
    assert text.count("cannot be written") == 1
    assert 0 < half_way < read_run(training.folder).summary["total_j"]
    assert read_run(training.folder).status == "finished"


def test_a_driver_that_hangs_holds_up_neither_the_training_nor_the_others(tmp_path: Path, library: Path) -> None:
    training = Training(tmp_path, library, 6.0, hang_from_s=2.5)
    text = training.rest()
    assert training.process.returncode == 0, text
    assert float(text.split("ended after ")[1].split()[0]) < 1.0
    assert int(text.split("trained ")[1].split()[0]) > 40
    seconds = read_run(training.folder).summary["seconds"]
    assert training.device(0)["joules"] == pytest.approx(WATTS * seconds, rel=0.01)
    assert training.device(0)["gap_s"] == 0
    assert training.device(1)["gap_s"] > 2
    assert "is unresponsive" in training.device(1)["note"]


def test_a_driver_that_comes_back_brings_all_its_energy(tmp_path: Path, library: Path) -> None:
    training = Training(tmp_path, library, 7.0, hang_from_s=2.5, hang_to_s=5.5)
    training.rest()
    seconds = read_run(training.folder).summary["seconds"]
    assert training.device(1)["joules"] == pytest.approx(WATTS * seconds, rel=0.01)
    assert training.device(1)["gap_s"] == pytest.approx(3, abs=0.7)


def test_a_process_that_is_stopped_and_goes_on_loses_no_counted_joule(tmp_path: Path, library: Path) -> None:
    training = Training(tmp_path, library, 4.0).trains()
    training.process.send_signal(signal.SIGSTOP)
    time.sleep(2.0)
    training.process.send_signal(signal.SIGCONT)
    training.rest()
    assert training.process.returncode == 0
    seconds = read_run(training.folder).summary["seconds"]
    assert training.device(0)["joules"] == pytest.approx(WATTS * seconds, rel=0.01)
