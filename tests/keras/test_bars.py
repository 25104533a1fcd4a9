"""What Keras's progress bar leaves on a real terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.terminal import typed

SCRIPT = """
from tests.keras.training import classifier, points
from trainwatt_keras import FootprintMonitor
x, y = points(40)
monitor = FootprintMonitor(zone="FR", run_name="run")
classifier().fit(x, y, epochs=2, verbose={verbose!r}, validation_split=0.1, callbacks=[monitor])
"""


@pytest.mark.parametrize("verbose", ["auto", 1, 2, 0])
def test_our_lines_and_the_bar_do_not_run_into_each_other(verbose: str | int, tmp_path: Path) -> None:
    script = SCRIPT.format(verbose=verbose)
    screen = typed(script, tmp_path, 120, KERAS_BACKEND="torch", OMP_NUM_THREADS="1")
    lines = screen.replace("\r\x1b[K", "\n").replace("\r", "\n").splitlines()
    ours = [line for line in lines if "trainwatt: " in line]
    assert "whole run about" in ours[0]
    assert all(line.removeprefix("\x1b[1m").startswith("trainwatt: ") for line in ours)
    assert "run folder: footprint/run" in screen
    assert not any("step" in line for line in screen.rpartition("trainwatt: ")[2].splitlines())
