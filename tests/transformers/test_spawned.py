"""Trainings in processes of their own, as a notebook's launcher makes them, and workers that load the data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.transformers.training import BATCHES

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", ["spawn", "fork", "loader"])
def test_the_summary_is_known_where_the_callback_was_made(tmp_path: Path, form: str) -> None:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(Path(__file__).with_name("spawned.py")), str(tmp_path), form]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["phases"]["train"]["steps"] == 2 * BATCHES
    assert "trainwatt:" not in run.stderr
