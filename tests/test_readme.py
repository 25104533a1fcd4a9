"""What the README says is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lightning.training import Classifier, Data
from trainwatt.report import Report

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0]
    assert len(code.splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {"model": Classifier(), "datamodule": Data()})
    assert "trainwatt: " in capsys.readouterr().out


def test_every_metric_is_in_the_table() -> None:
    source = Path(sys.modules[Report.__module__].__file__ or "").read_text(encoding="utf-8")
    named = set(re.findall(r'"((?:energy|footprint|projection)/\w+)"', source))
    assert named == set(re.findall(r"`((?:energy|footprint|projection)/\w+)`", README))


def test_the_doctor_is_a_command() -> None:
    command = [sys.executable, "-m", "trainwatt", "doctor", "--seconds", "0.1"]
    assert subprocess.run(command, capture_output=True, check=True).stdout
