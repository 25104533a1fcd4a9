"""``trainwatt merge``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainwatt import measure
from trainwatt.cli import main
from trainwatt.records.run_folder import read_summary


def run(folder: Path, name: str) -> Path:
    with measure(output_dir=folder, run_name=name, zone="FR", devices="ram", verbose=False) as measured:
        measured.step()
        measured.wait_until_settled()
    return folder / name


def test_two_processes_on_a_host_without_a_launcher_are_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has measured the host's memory, one after the other here: the times add up, in one device."""
    folders = [run(tmp_path, name) for name in ("a", "b")]
    alone = [read_summary(folder)["total_j"] for folder in folders]
    assert main(["merge", *map(str, folders), "--output", str(tmp_path / "job")]) == 0
    assert "2 of 2 processes" in capsys.readouterr().out
    joined = read_summary(tmp_path / "job")
    assert len(joined["devices"]) == 1
    assert max(alone) < joined["total_j"] <= sum(alone) * (1 + 1e-6)
    assert joined["footprint"]["co2e_kg"]["central"] > 0


def test_merging_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(run(tmp_path, name)) for name in ("a", "b")]
    main(["merge", *folders, "--json"])
    first = json.loads(capsys.readouterr().out)
    main(["merge", *reversed(folders), "--json", "--output", folders[0]])
    assert json.loads(capsys.readouterr().out) == first == read_summary(folders[0])


def test_a_folder_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(tmp_path)]) == 1
    assert "no run folder" in capsys.readouterr().err
