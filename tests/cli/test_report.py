from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reporting.html.runs import trained
from trainwatt.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("footprint")
    return [str(trained(folder, name, ceiling)) for name, ceiling in (("one", 0.6), ("two", 0.9))]


def test_a_report_is_written_into_the_run_folder(folders: list[str], capsys: Capture) -> None:
    path = Path(folders[0]) / "report.html"
    path.unlink()
    assert main(["report", folders[0]]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_report_of_several_runs_is_a_comparison(
    folders: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *folders, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": "comparison.html"}
    assert "Comparison of 2 runs" in Path("comparison.html").read_text(encoding="utf-8")


def test_it_may_be_written_elsewhere(folders: list[str], tmp_path: Path, capsys: Capture) -> None:
    for command in (["report", folders[0]], ["compare", *folders]):
        path = tmp_path / f"{command[0]}.html"
        assert main([*command, "--write", str(path)]) == 0
        assert capsys.readouterr().out.strip() == str(path)
        assert path.exists()


def test_runs_are_compared_in_letters_and_as_json(folders: list[str], capsys: Capture) -> None:
    assert main(["compare", *folders]) == 0
    assert "val_acc" in capsys.readouterr().out
    assert main(["compare", *folders, "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["metric"] == "val_acc"
    runs = {run["run"]: run for run in state["runs"]}
    assert runs["two"]["front"]
    assert runs["two"]["best"] > runs["one"]["best"]
    assert state["runs"] == sorted(state["runs"], key=lambda run: run["total_kwh"])


@pytest.mark.parametrize("command", ["report", "compare"])
def test_what_is_no_run_is_told(command: str, folders: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main([command, str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert main([command, *folders, "--metric", "f2"]) == 2
    assert "val_acc" in capsys.readouterr().err
