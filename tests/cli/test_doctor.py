from __future__ import annotations

import json
import subprocess
import sys

import pytest

from standins import nvml as standin
from standins.nvml import Code, Constant, Machine, h100
from trainwatt.cli import main


def test_it_shows_what_is_measured_at_which_watts_now(
    nvml_library: standin.Library, capsys: pytest.CaptureFixture[str]
) -> None:
    with nvml_library.running(h100(Constant(321.0))):
        assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (gpu,) = [device for device in found["devices"] if device["kind"] == "gpu"]
    assert gpu["watts"] == pytest.approx(321, rel=0.05)
    assert gpu["method"] == "measured"
    assert {device["kind"] for device in found["devices"]} == {"gpu", "cpu", "ram"}


def test_it_says_why_a_source_is_missing_and_how_to_fix_it(
    nvml_library: standin.Library, capsys: pytest.CaptureFixture[str]
) -> None:
    with nvml_library.running(Machine((h100(),), init_error=Code.LIB_RM_VERSION_MISMATCH)):
        main(["doctor", "--seconds", "0.2"])
    printed = capsys.readouterr().out
    assert "GPU: no NVML." in printed
    assert "To fix it:" in printed
    assert "CPU" in printed


@pytest.mark.parametrize("arguments", [["doctor", "--seconds", "-1"], ["doctor", "--seconds", "long"]])
def test_a_wrong_command_line_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: trainwatt" in capsys.readouterr().err


def test_it_is_a_command() -> None:
    run = subprocess.run([sys.executable, "-m", "trainwatt", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.strip()
