"""Record of a training in each framework after SIGTERM, which a scheduler sends before it pre-empts a job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainwatt.records.job_reader import read_run

SCRIPT = Path(__file__).with_name("in_framework.py")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process of Windows at once")


@pytest.mark.parametrize("framework", ["lightning", "transformers", "keras"])
def test_sigterm_leaves_a_complete_record_and_the_frameworks_own_exit_status(framework: str, tmp_path: Path) -> None:
    module = "trainwatt_" + framework
    pytest.importorskip(framework)
    pytest.importorskip(module)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(SCRIPT), framework, str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "training\n":
            assert line, process.communicate()[1]
        process.send_signal(signal.SIGTERM)
        sent_s = time.time()
        _, errors = process.communicate()
    run = read_run(tmp_path / "run")
    assert run.status == "interrupted", errors
    assert run.events[-1]["event"] == "end"
    lived_s = sent_s - run.events[0]["began_unix_s"]
    assert run.summary["seconds"] >= lived_s - 0.1
    if framework != "lightning":  # which has its own handler and ends by itself, after the batch
        assert process.returncode == -signal.SIGTERM
