"""What Lightning's progress bars leave on a real terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.terminal import typed

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
    shown, _, summary = screen.rpartition("trainwatt: ")
    assert "Epoch" in shown
    assert "J" in shown.rpartition("Epoch")[2]
    assert "run folder: footprint/run" in summary
    assert "Epoch" not in summary
