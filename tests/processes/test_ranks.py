"""Ranks of a job that have other callbacks than the others, and Trainers that run in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes.ranks import CASES
from trainwatt.distributed.store_exchange import PATIENCE_S

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(*arguments: str, timeout_s: float) -> str:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": path}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all cases have left what they came to; a rank that hangs ends this."""
    folder = tmp_path_factory.mktemp("ranks")
    run(str(Path(__file__).with_name("ranks.py")), str(folder), *CASES, timeout_s=300)
    return folder


def found(folder: Path, case: str) -> tuple[list[dict[str, Any]], list[str]]:
    assert json.loads((folder / f"{case}-codes.json").read_text()) == [0, 0]
    told = [json.loads((folder / f"{case}-{rank}.json").read_text()) for rank in range(2)]
    return told, [(folder / f"{case}-{rank}.log").read_text() for rank in range(2)]


@pytest.mark.parametrize("case", ["chosen", "chosen without evaluations"])
def test_a_checkpoint_is_chosen_by_the_jobs_energy_on_every_rank(folder: Path, case: str) -> None:
    (first, second), logs = found(folder, case)
    ours = [{name: value for name, value in each["metrics"].items() if "/" in name} for each in (first, second)]
    assert ours[0] == ours[1]
    assert first["metrics"]["energy/total_kwh"] > 0
    assert first["kept"] == second["kept"] == ["epoch=0-step=4.ckpt"]
    assert first["summaries"][0]["processes"]["joined"] == 2
    assert logs == ["", ""]


def test_a_monitor_on_rank_0_alone_delays_nothing_and_says_so(folder: Path) -> None:
    (first, second), logs = found(folder, "monitor on rank 0")
    assert first["seconds"] < PATIENCE_S
    assert (first["epochs"], second["epochs"]) == (2, 2)
    assert {**first["summaries"][0]["processes"], "job": ""} == {"count": 2, "joined": 1, "job": ""}
    assert first["summaries"][0]["status"] == "finished"
    assert [line for line in logs[0].splitlines() if "rank 1 is not measured" in line] == logs[0].splitlines()
    assert logs[1] == ""


def test_a_monitor_on_another_rank_alone_waits_once_and_says_so(folder: Path) -> None:
    (first, second), logs = found(folder, "monitor on rank 1")
    assert PATIENCE_S <= second["seconds"] < 2 * PATIENCE_S
    assert (first["epochs"], second["epochs"]) == (2, 2)
    (line,) = logs[1].splitlines()
    assert "rank 0 has not begun to measure within 30 s" in line
    assert list((folder / "monitor on rank 1").glob("*rank-1*/summary.json"))


def test_a_stopper_on_one_rank_stops_nobody(folder: Path) -> None:
    (first, second), logs = found(folder, "stopper on rank 0")
    assert (first["epochs"], second["epochs"]) == (4, 4)
    assert first["stopped"] == [None]
    assert "stopped at" not in logs[0]


def test_a_stopper_on_all_ranks_stops_them_at_the_same_step(folder: Path) -> None:
    (first, second), logs = found(folder, "stopper")
    assert (first["epochs"], second["epochs"]) == (1, 1)
    assert [text.count("stopped at epoch 0: the metric is not finite") for text in logs] == [1, 0]


@pytest.mark.parametrize("strategy", ["ddp_fork", "ddp_spawn"])
def test_the_summary_of_a_trainer_in_other_processes_is_read_back(tmp_path: Path, strategy: str) -> None:
    run(str(Path(__file__).with_name("spawned.py")), str(tmp_path), strategy, timeout_s=240)
    told = json.loads((tmp_path / f"{strategy}.json").read_text())
    assert (told["fitted"]["run"], told["fitted"]["status"]) == ("run-2", "finished")
    assert told["fitted"]["processes"]["joined"] == 2
    assert 0 < told["metrics"]["energy/total_kwh"] <= told["fitted"]["total_kwh"]
    assert (told["tested"]["run"], told["tested"]["status"]) == ("run-test", "finished")
