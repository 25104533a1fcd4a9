"""Two ranks that do not have the same callbacks, or do not log the same: no rank waits for the other without end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STEPS = 6  # of two epochs on two ranks
pytestmark = pytest.mark.slow


def ranks(folder: Path, case: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    program = [str(Path(__file__).with_name("ranks.py")), str(folder), case]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    # a rank that hangs ends this
    run = subprocess.run(
        [*command, *program], env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    return first, second, run.stderr


def ours(told: dict[str, Any]) -> list[dict[str, float]]:
    return [{name: value for name, value in entry.items() if "/" in name} for entry in told["entries"]]


@pytest.mark.parametrize("case", ["logs on rank 1", "losses on rank 1", "logs on all ranks", "same"])
def test_entries_of_the_users_end_no_epoch_and_all_ranks_publish_the_same(tmp_path: Path, case: str) -> None:
    first, second, told = ranks(tmp_path, case)
    assert (first["steps"], second["steps"]) == (STEPS, STEPS)
    assert first["summary"]["epochs"] == 2
    assert first["summary"]["processes"]["joined"] == 2
    assert len(first["entries"]) == 2
    assert ours(first) == ours(second)
    assert "trainwatt:" not in told


def test_a_monitor_on_rank_0_alone_delays_nothing_and_says_so(tmp_path: Path) -> None:
    first, second, told = ranks(tmp_path, "monitor on rank 0")
    assert first["seconds"] < 15
    assert (first["summary"]["epochs"], first["summary"]["processes"]["joined"], second["summary"]) == (2, 1, {})
    assert told.count("rank 1 is not measured") == 1


def test_a_stopper_on_all_ranks_stops_them_at_the_same_step(tmp_path: Path) -> None:
    first, second, _ = ranks(tmp_path, "stopper")
    assert (first["steps"], second["steps"]) == (STEPS // 2, STEPS // 2)
    assert first["stopped"]


def test_a_stopper_on_rank_0_alone_stops_no_rank(tmp_path: Path) -> None:
    first, second, told = ranks(tmp_path, "stopper on rank 0")
    assert (first["steps"], second["steps"]) == (STEPS, STEPS)
    assert "rank 1 is not measured" in told
