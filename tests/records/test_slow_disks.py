"""Runs on disks that are slow, hang, fill up or vanish: training goes on, and what can be written is written.

Each run is a process of its own, whose calls on the disk are interposed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from standins import slow_disk
from standins.slow_disk import ALL, WRITES, SlowDisk

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="interposes the calls of glibc"),
    pytest.mark.slow,
]

CODE = """
import json, logging, sys, time
import trainwatt

logging.basicConfig(format="LOG %(message)s", stream=sys.stdout)
before_s = time.monotonic()
with trainwatt.measure(zone="FR", output_dir=sys.argv[1], run_name="run", verbose=False, devices=("ram",)) as run:
    began_s = time.monotonic()
    print("TRAINING", flush=True)
    slowest_s = 0.0
    for _ in run.epochs(int(sys.argv[2])):
        for _ in range(10):
            time.sleep(0.01)
            step_s = time.monotonic()
            run.step()
            run.metric("loss", 0.5)
            slowest_s = max(slowest_s, time.monotonic() - step_s)
    trained_s = time.monotonic()
ended_s = time.monotonic()
print(json.dumps({
    "start_s": began_s - before_s, "train_s": trained_s - began_s, "end_s": ended_s - trained_s,
    "slowest_s": slowest_s, "summary": run.summary, "folder": str(run.summary.folder),
}), flush=True)
"""
EPOCHS = 20


@dataclass
class Training:
    """A training in a process, and its disk."""

    disk: SlowDisk
    process: subprocess.Popen[str]

    @property
    def folder(self) -> Path:
        return self.disk.folder / "footprint" / "run"

    def begun(self) -> None:
        """Wait until it trains and has written its first summary, if it can."""
        assert self.process.stdout is not None
        while "TRAINING" not in (line := self.process.stdout.readline()):
            assert line
        until_s = time.monotonic() + 5.0
        while not (self.folder / "summary.json").exists() and time.monotonic() < until_s:
            time.sleep(0.01)

    def ended(self, timeout_s: float = 60.0) -> tuple[dict[str, Any], list[str]]:
        """Wait for its end, and return what it says of itself and what it has logged."""
        out, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, out
        *lines, last = out.splitlines()
        return json.loads(last), [line for line in lines if line.startswith("LOG")]


Start = Callable[..., Training]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    library = slow_disk.build(tmp_path)
    running = []

    def begin(prepare: Callable[[SlowDisk], None] = SlowDisk.heal, epochs: int = EPOCHS) -> Training:
        disk = SlowDisk(library, tmp_path / "disk", tmp_path / "control")
        disk.folder.mkdir()
        prepare(disk)
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(disk.folder / "footprint"), str(epochs)],
            env=os.environ | disk.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append((disk, process))
        return Training(disk, process)

    yield begin
    for disk, process in running:
        disk.heal()
        process.kill()
        process.wait()


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def whole(folder: Path, summary: dict[str, Any], epochs: int = EPOCHS) -> None:
    """Check that a record is complete."""
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == summary
    assert summary["status"] == "finished"
    found = events(folder)
    assert (found[0]["event"], found[-1]["event"]) == ("start", "end")
    assert {each["epoch"] for each in found if each["event"] == "span"} >= set(range(epochs))
    assert sum(each["event"] == "score" for each in found) == 10 * epochs
    spans = [each for each in found if each["event"] == "span"]
    assert sum(sum(each["joules"].values()) for each in spans) == pytest.approx(summary["total_j"])
    assert not list(folder.glob(".*"))


def unharmed(said: dict[str, Any], epochs: int = EPOCHS) -> None:
    """Check that training was not held up, and that its figures are right."""
    # An epoch takes 0.1 s, and more on a busy machine; a single write takes three calls on the disk.
    assert said["train_s"] < 0.5 * epochs
    assert said["slowest_s"] < 1.0
    assert said["summary"]["status"] == "finished"
    assert said["summary"]["epochs"] == epochs
    assert said["summary"]["total_j"] > 0
    assert said["summary"]["phases"]["train"]["steps"] == 10 * epochs


def test_a_healthy_disk_gets_a_whole_record(start: Start) -> None:
    training = start()
    said, log = training.ended()
    unharmed(said)
    whole(training.folder, said["summary"])
    assert log == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE, errno.EDQUOT])
def test_a_disk_that_takes_nothing_costs_the_record_only(code: int, start: Start) -> None:
    said, log = start(lambda disk: disk.fail(code)).ended()
    unharmed(said)
    assert said["folder"] == "None"
    assert len(log) == 1
    assert os.strerror(code) in log[0]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.ESTALE])
def test_a_disk_that_is_away_for_a_while_gets_a_whole_record(code: int, start: Start) -> None:
    training = start()
    training.begun()
    training.disk.fail(code)
    time.sleep(1.0)
    training.disk.heal()
    said, log = training.ended()
    unharmed(said)
    whole(training.folder, said["summary"])
    assert len(log) == 1


def test_a_disk_that_is_full_at_the_start_only_gets_a_whole_record(start: Start) -> None:
    training = start(lambda disk: disk.fail(errno.ENOSPC))
    training.disk.wait_for_hits(2)
    training.disk.heal()
    said, _ = training.ended()
    unharmed(said)
    whole(training.folder, said["summary"])
    assert said["folder"] == str(training.folder)


@pytest.mark.parametrize("calls", ["o", "w", "r", "s", "m", WRITES])
def test_a_slow_disk_holds_up_nothing_and_gets_a_whole_record(calls: str, start: Start) -> None:
    training = start(lambda disk: disk.delay(0.4, calls))
    said, _ = training.ended()
    unharmed(said)
    whole(training.folder, said["summary"])
    assert said["start_s"] < 10.0


@pytest.mark.parametrize("calls", ["o", "w", "r", "s", WRITES, ALL])
def test_a_disk_that_stalls_over_the_end_still_gets_it(calls: str, start: Start) -> None:
    training = start()
    training.begun()
    time.sleep(0.5)
    training.disk.hang(calls)
    time.sleep(4.0)
    training.disk.heal()
    said, log = training.ended()
    unharmed(said)
    whole(training.folder, said["summary"])
    assert log == []


def test_a_disk_that_hangs_at_the_start_and_comes_back_gets_a_whole_record(start: Start) -> None:
    training = start(lambda disk: disk.hang(ALL), epochs=60)
    assert training.process.stdout is not None
    while "TRAINING" not in training.process.stdout.readline():
        pass
    time.sleep(1.0)
    training.disk.heal()
    said, _ = training.ended()
    unharmed(said, epochs=60)
    assert said["start_s"] < 10.0
    whole(training.folder, said["summary"], epochs=60)


@pytest.mark.parametrize("calls", [ALL, "s"])
def test_a_disk_that_hangs_for_ever_does_not_hang_the_end_for_ever(calls: str, start: Start) -> None:
    training = start()
    training.begun()
    training.disk.hang(calls)
    said, log = training.ended(timeout_s=60.0)
    unharmed(said)
    assert said["end_s"] < 45.0
    assert len(log) == 1
    assert "the disk does not answer" in log[0]
    # It was written before, and is still whole.
    training.disk.heal()
    assert json.loads((training.folder / "summary.json").read_text(encoding="utf-8"))["status"] == "running"


@pytest.mark.parametrize("lost", ["run", "parent", "renamed"])
def test_a_folder_that_is_lost_midway_is_made_again_whole(lost: str, start: Start) -> None:
    training = start()
    training.begun()
    if lost == "renamed":
        training.folder.rename(training.folder.with_name("renamed"))
    else:
        shutil.rmtree(training.folder if lost == "run" else training.folder.parent)
    said, log = training.ended()
    unharmed(said)
    whole(training.folder, said["summary"])
    assert log == []


def test_an_interrupt_while_the_end_is_written_does_not_lose_it(start: Start) -> None:
    """The program goes on or ends, but the end is written once the disk answers."""
    training = start()
    training.begun()
    training.disk.hang(WRITES)
    time.sleep(4.0)
    training.process.send_signal(2)
    time.sleep(1.0)
    training.disk.heal()
    training.process.communicate(timeout=60)
    written = json.loads((training.folder / "summary.json").read_text(encoding="utf-8"))
    assert written["status"] == "finished"
    assert events(training.folder)[-1]["event"] == "end"
