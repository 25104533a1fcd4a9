"""``trainwatt watch``: a run seen from outside, while it goes on and afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.run_folders import written
from tests.support.terminal import typed
from trainwatt import measure
from trainwatt.cli import main

Capture = pytest.CaptureFixture[str]
GOES_ON = """
import trainwatt, time
with trainwatt.measure(zone="FR", run_name="run", verbose=False) as run:
    for epoch in run.epochs(10**6):
        time.sleep(0.05)
        run.step()
        run.metric("val_acc", 0.5)
"""


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """A folder of runs, one of which has ended."""
    with measure(zone="FR", output_dir=tmp_path / "footprint", run_name="run", verbose=False) as run:
        for _ in run.epochs(3):
            run.metric("val_acc", 0.75)
    return tmp_path / "footprint"


@pytest.fixture
def going_on(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs, one of which is made by another process."""
    with subprocess.Popen([sys.executable, "-c", GOES_ON], cwd=tmp_path) as process:
        summary = tmp_path / "footprint/run/summary.json"
        while not summary.exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield tmp_path / "footprint"
        process.kill()


def test_what_has_ended_is_shown_once(ended: Path, capsys: Capture) -> None:
    for arguments in ([str(ended / "run")], [str(ended), "--once"]):
        assert main(["watch", *arguments]) == 0
        told = capsys.readouterr().out
        assert "trainwatt: run finished" in told
        assert "3 epochs, val_acc 0.75" in told
        assert "factors" not in told


def test_a_run_that_goes_on_is_shown_until_it_ends(going_on: Path) -> None:
    command = [sys.executable, "-m", "trainwatt", "watch", "--json", "--interval", "0.1"]
    with subprocess.Popen(command, cwd=going_on.parent, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
    assert watching.returncode == 0
    assert {look["status"] for look in looks} == {"running"}
    assert looks[0]["total_j"] < looks[1]["total_j"] < looks[2]["total_j"]


@pytest.mark.slow
def test_a_terminal_is_told_power_and_projection(going_on: Path) -> None:
    script = """
import os, signal, subprocess, sys, time
watching = subprocess.Popen([sys.executable, "-m", "trainwatt", "watch", "--interval", "0.3"])
time.sleep(4)
watching.send_signal(signal.SIGINT)
sys.exit(watching.wait())
"""
    text = typed(script, going_on.parent)
    for told in ("run running", "W now", "val_acc 0.5", "whole run about"):
        assert told in text
    assert "Traceback" not in text


def test_a_killed_run_is_shown_as_one(ended: Path, capsys: Capture) -> None:
    summary = json.loads((ended / "run/summary.json").read_text())
    events = [json.loads(line) for line in (ended / "run/events.jsonl").read_text().splitlines()]
    summary |= {"status": "running", "written": {**summary["written"], "pid": -1}}
    written(ended / "run", (each for each in events if each["event"] != "end"), summary, cut='{"event": "sp')
    assert main(["watch", str(ended)]) == 0
    assert "trainwatt: run killed" in capsys.readouterr().out
    assert main(["watch", str(ended), "--json", "--once"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "killed"


def test_the_latest_of_several_is_taken(ended: Path, capsys: Capture) -> None:
    with measure(output_dir=ended, run_name="later", verbose=False):
        pass
    os.utime(ended / "run", (0, 0))
    assert main(["watch", str(ended), "--once"]) == 0
    assert "trainwatt: later" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_ends_it(going_on: Path) -> None:
    watch = f"{sys.executable} -m trainwatt watch --json --interval 0.1 | head -n 1"
    run = subprocess.run(watch, shell=True, cwd=going_on.parent, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(run.stdout)["run"] == "run"
    assert run.stderr == ""


def test_no_run_is_a_clear_error(tmp_path: Path, capsys: Capture) -> None:
    assert main(["watch", str(tmp_path)]) == 1
    assert "no run folder" in capsys.readouterr().err
