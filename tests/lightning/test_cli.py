from __future__ import annotations

from pathlib import Path

import pytest
from lightning.pytorch.cli import LightningCLI

from tests.lightning.training import Classifier, Data
from trainwatt_lightning import FootprintMonitor

TRAINER = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "max_epochs": 1}


def run(tmp_path: Path, *arguments: str) -> LightningCLI:
    return LightningCLI(
        Classifier,
        Data,
        trainer_defaults={**TRAINER, "default_root_dir": tmp_path},
        save_config_callback=None,
        args=["fit", "--trainer.callbacks=FootprintMonitor", *arguments],
    )


def test_the_monitor_is_configured_on_lightnings_command_line(tmp_path: Path) -> None:
    cli = run(
        tmp_path,
        "--trainer.callbacks.zone=FR",
        "--trainer.callbacks.interval=0.5",
        "--trainer.callbacks.devices=[cpu]",
        f"--trainer.callbacks.output_dir={tmp_path}",
        "--trainer.callbacks.verbose=false",
    )
    monitor = next(callback for callback in cli.trainer.callbacks if isinstance(callback, FootprintMonitor))
    assert [device["kind"] for device in monitor.summary["devices"]] == ["cpu"]
    assert monitor.summary["status"] == "finished"


def test_a_wrong_type_is_told_by_lightnings_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, "--trainer.callbacks.interval=often")
    assert "interval" in capsys.readouterr().err
