from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainwatt.errors import ArgumentError
from trainwatt.tracking.settings import Settings


@pytest.mark.parametrize(
    ("argument", "given", "right"),
    [
        ("zone", "Atlantis", "country"),
        ("zone", 7, "country"),
        ("interval", -1.0, "positive number of seconds"),
        ("interval", 0, "positive number of seconds"),
        ("interval", "often", "positive number of seconds"),
        ("interval", float("nan"), "positive number of seconds"),
        ("interval", True, "positive number of seconds"),
        ("devices", ["tpu"], "'gpu', 'cpu', 'ram'"),
        ("devices", [], "'gpu', 'cpu', 'ram'"),
        ("devices", 3, "'gpu', 'cpu', 'ram'"),
        ("scope", "cluster", '"machine" or "process"'),
        ("pue", 0.5, "1"),
        ("carbon_intensity", -3, "0"),
        ("tariff", -0.1, "0"),
        ("wue", "wet", "0"),
        ("expected_requests", 0, "positive number of requests"),
        ("idle_w", -5.0, "positive"),
        ("full_w", 0, "positive"),
        ("verbose", "yes", "True or False"),
        ("output_dir", 3, "folder"),
        ("run_name", "a/b", "without slashes"),
        ("run_name", "", "without slashes"),
    ],
)
def test_a_bad_argument_is_named_with_what_was_given_and_what_would_be_right(
    argument: str, given: Any, right: str
) -> None:
    with pytest.raises(ArgumentError) as error:
        Settings.check(**{argument: given})
    assert str(error.value).startswith(f"{argument}={given!r}: ")
    assert right in str(error.value)


def test_idle_above_full_load_is_told() -> None:
    with pytest.raises(ArgumentError, match="idle_w"):
        Settings.check(idle_w=100.0, full_w=50.0)


@pytest.mark.parametrize("given", ["/proc/runs", "file/runs", "~nobody-of-that-name/runs", "deep/" * 3000])
def test_a_folder_that_cannot_be_written_is_no_bad_argument(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    folder = Settings.check(output_dir=given).output_dir
    assert folder is not None
    assert folder.is_absolute()


def test_the_folder_stays_the_same_wherever_the_program_changes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    by_default, relative, home = (
        Settings.check(**given) for given in ({}, {"output_dir": "a/../runs"}, {"output_dir": "~/runs"})
    )
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert by_default.output_dir == tmp_path / "footprint"
    assert relative.output_dir == tmp_path / "runs"
    assert home.output_dir == tmp_path / "home" / "runs"


def test_a_folder_can_be_given_where_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert Settings.check(output_dir="runs").output_dir == Path("runs")
    assert Settings.check(output_dir=tmp_path).output_dir == tmp_path


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("x" * 256, "256 bytes"),
        ("\u00e9" * 128, "256 bytes"),
        ("nul\0", "control character"),
        ("line\nbreak", "control character"),
        ("\x1b[31m", "control character"),
        ("\ud800", "file names cannot have"),
    ],
)
def test_a_name_that_no_disk_takes_is_told_at_once(given: str, fault: str) -> None:
    for argument, value in {"run_name": given, "output_dir": f"runs/{given}/here"}.items():
        with pytest.raises(ArgumentError) as error:
            Settings.check(**{argument: value})
        assert str(error.value).startswith(f"{argument}=")
        assert fault in str(error.value)


@pytest.mark.parametrize("given", ["..", ".", "a/b", "/a", "a/"])
def test_a_run_name_leads_to_no_other_folder(given: str) -> None:
    with pytest.raises(ArgumentError, match="run_name"):
        Settings.check(run_name=given)


@pytest.mark.parametrize("given", ["x" * 255, "\u00e9" * 127, "CON", "a b", "-rf", "..a"])
def test_an_unusual_name_is_taken(given: str) -> None:
    assert Settings.check(run_name=given).run_name == given


def test_checking_makes_no_folder(tmp_path: Path) -> None:
    Settings.check(output_dir=tmp_path / "footprint")
    assert not (tmp_path / "footprint").exists()


def test_one_kind_of_device_may_be_given_by_itself() -> None:
    assert Settings.check(devices="gpu").devices == ("gpu",)
    assert Settings.check(devices=["ram", "gpu"]).devices == ("gpu", "ram")
