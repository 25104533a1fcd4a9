from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_digits_are_learnt_and_measured_with_lightning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = runpy.run_path(str(EXAMPLES / "lightning_digits.py"))["main"](max_epochs=3)
    printed = capsys.readouterr().out
    assert monitor.summary["epochs"] == 3
    assert len(list((tmp_path / "footprint").glob("*/summary.json"))) == 1
    assert "run folder: footprint" in printed
    assert float(printed.split("val_acc ")[-1]) > 0.8
