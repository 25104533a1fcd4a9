"""Other attempts of a training, found among the run folders, whose processes live, were killed, or are elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.run_folders import written
from trainwatt import Tracker, measure
from trainwatt.records.attempt_folders import find_attempts
from trainwatt.records.run_folder import read_summary

ATTEMPT = """
import json, sys, time, trainwatt
run = trainwatt.measure(zone="FR", output_dir=sys.argv[1], run_name="run", devices="ram", verbose=False)
with run:
    run.load_state_dict(json.loads(sys.argv[2]))
    with run.phase("train"):
        while True:
            run.step()
            time.sleep(0.01)
"""


def tracker(folder: Path) -> Tracker:
    return measure(zone="FR", output_dir=folder, run_name="run", devices="ram", verbose=False)


def first_attempt(folder: Path) -> dict[str, Any]:
    """Train for a moment, fail, and return the checkpoint."""
    run = tracker(folder)
    run.start()
    with run.phase("train"):
        run.step()
        run.wait_until_settled()
    state = run.state_dict()
    run.stop("failed")
    return state


@contextmanager
def attempt(folder: Path, state: dict[str, Any], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Resume in another process, and wait until it has written what it has trained."""
    with subprocess.Popen([sys.executable, "-c", ATTEMPT, str(folder), json.dumps(state)]) as process:
        try:
            while not trained(folder / name):
                assert process.poll() is None
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def trained(folder: Path) -> bool:
    try:
        return bool(read_summary(folder)["attempts"][-1]["phases"]["train"]["steps"])
    except (OSError, KeyError):
        return False


def resumed(folder: Path, state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the attempts that a run counts that resumes from a checkpoint."""
    with tracker(folder) as run:
        run.load_state_dict(state)
    attempts: list[dict[str, Any]] = run.summary["attempts"]
    assert run.summary["total_j"] == pytest.approx(sum(each["total_j"] for each in attempts))
    return attempts


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="zombies are told by procfs")
def test_an_attempt_counts_as_soon_as_its_process_was_killed_and_not_before(tmp_path: Path) -> None:
    state = first_attempt(tmp_path)
    with attempt(tmp_path, state, "run-2") as process:
        assert [each["run"] for each in resumed(tmp_path, state)] == ["run", "run-3"]
        process.kill()
        # A zombie, which nobody has waited for yet, is gone as well.
        while read_pid_state(process.pid) != "Z":
            time.sleep(0.005)
        lost_j = read_summary(tmp_path / "run-2")["attempts"][-1]["total_j"]
        found = {each["run"]: each for each in resumed(tmp_path, state)}
    assert found["run-2"]["total_j"] == found["run-2"]["lost_j"] == pytest.approx(lost_j)
    assert found["run-2"]["status"] == "killed"


def read_pid_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_training_that_goes_on_beside_its_branch_counts_up_to_the_checkpoint(tmp_path: Path) -> None:
    state = first_attempt(tmp_path)
    with attempt(tmp_path, state, "run-2"):
        checkpoint = read_summary(tmp_path / "run-2")
        while read_summary(tmp_path / "run-2")["total_j"] <= 1.2 * checkpoint["total_j"]:
            time.sleep(0.05)
        found = {each["run"]: each for each in resumed(tmp_path, checkpoint)}
    assert found["run-2"]["total_j"] == pytest.approx(checkpoint["attempts"][-1]["total_j"])
    assert found["run-2"]["lost_j"] == 0


@pytest.mark.parametrize(("silent_s", "status"), [(5.0, "running"), (60.0, "killed")])
def test_a_process_on_another_host_is_gone_when_it_is_silent(tmp_path: Path, silent_s: float, status: str) -> None:
    state = first_attempt(tmp_path)
    summary = read_summary(tmp_path / "run")
    attempts = [*summary["attempts"], {**summary["attempts"][0], "run": "elsewhere", "id": "other"}]
    other = {"pid": 1, "pid_space": "another boot/", "boot": "another boot", "host": "another"}
    start = {"event": "start", "run": "elsewhere", "began_unix_s": 1.7e9, **other}
    state_there = {**summary, "id": "other", "status": "running", "attempts": attempts, "written": other}
    written(tmp_path / "elsewhere", [start], state_there)
    # by the clock of the file server, which is the one of all files
    os.utime(tmp_path / "elsewhere/summary.json", (time.time() - silent_s,) * 2)
    found = {each["id"]: each["status"] for each in find_attempts(state, tmp_path)}
    assert found == {summary["id"]: "failed", "other": status}


def test_what_is_no_run_folder_is_passed_over(tmp_path: Path) -> None:
    state = first_attempt(tmp_path)
    for name, content in (("a", "{"), ("b", "[]"), ("c", json.dumps({"training": state["training"]}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(content)
    (tmp_path / "d").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert [each["run"] for each in find_attempts(state, tmp_path)] == ["run"]
    assert find_attempts({**state, "folder": "/another/machine"}, None) == ()


@pytest.mark.slow
def test_a_full_folder_is_searched_in_a_moment(tmp_path: Path) -> None:
    state = first_attempt(tmp_path)
    other = json.dumps({**read_summary(tmp_path / "run"), "training": "another"})
    for number in range(3000):
        folder = tmp_path / f"other-{number}"
        folder.mkdir()
        (folder / "summary.json").write_text(other)
    began_s = time.perf_counter()
    assert [each["run"] for each in find_attempts(state, tmp_path)] == ["run"]
    assert time.perf_counter() - began_s < 1.0
