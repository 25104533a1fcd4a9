"""What Lightning's progress bars leave on a real terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from tests.lightning.training import Classifier, Data, trainer_with
from trainwatt_lightning import FootprintMonitor
monitor = FootprintMonitor(zone="FR", run_name="run")
bar = {bar}()
trainer_with(monitor, bar, enable_progress_bar=True, log_every_n_steps=2).fit(Classifier(), datamodule=Data())
"""


@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar"])
def test_no_bar_is_drawn_over_the_summary(bar: str, tmp_path: Path) -> None:
    screen = typed(SCRIPT.format(bar=bar), tmp_path)
    shown, _, summary = screen.partition("trainwatt: ")
    assert "Epoch" in shown
    assert "J" in shown.rpartition("Epoch")[2]
    assert "run folder: footprint/run" in summary
    assert "Epoch" not in summary


def typed(script: str, folder: Path) -> str:
    """What a program prints to a terminal of 150 columns."""
    main, terminal = pty.openpty()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = os.environ | {"TERM": "xterm-256color", "COLUMNS": "150", "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", "-c", script]
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=terminal, stderr=subprocess.DEVNULL) as process:
        os.close(terminal)
        parts = []
        try:
            while part := os.read(main, 65536):
                parts.append(part)
        except OSError:  # Linux's way to say that the other side is closed
            pass
    os.close(main)
    assert process.returncode == 0
    return b"".join(parts).decode()
