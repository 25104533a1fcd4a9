from __future__ import annotations

import sys
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


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder in which even root can make no file")
def test_a_folder_that_cannot_be_written_is_told() -> None:
    with pytest.raises(ArgumentError, match="output_dir='/proc/runs': expected a folder that can be written to"):
        Settings.check(output_dir="/proc/runs")


def test_a_folder_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="output_dir"):
        Settings.check(output_dir=tmp_path / "file" / "runs")


def test_checking_makes_no_folder(tmp_path: Path) -> None:
    Settings.check(output_dir=tmp_path / "footprint")
    assert not (tmp_path / "footprint").exists()


def test_one_kind_of_device_may_be_given_by_itself() -> None:
    assert Settings.check(devices="gpu").devices == ("gpu",)
    assert Settings.check(devices=["ram", "gpu"]).devices == ("gpu", "ram")
