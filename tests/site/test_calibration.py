"""Where the plug factors of hosts are kept."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from trainwatt.power.host.boot_id import host_id
from trainwatt.site import Factor
from trainwatt.site.calibration import FILE, Calibration, load, save

FACTOR = Factor("plug factor", 1.25, 1.15, 1.4, "", "calibrated 2026-11-25 against a wall meter", basis="this host")
OWN = Calibration(FACTOR, {"gpu": ["NVML total-energy counter"], "cpu": ["RAPL energy counter"]}, "run")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def test_a_calibration_is_kept_by_host(tmp_path: Path, environ: dict[str, str]) -> None:
    other = Calibration(Factor("plug factor", 1.1, 1.05, 1.2, "", "calibrated 2026-11-26 against a wall meter"), {})
    file = save("one", OWN, environ, tmp_path)
    assert file == tmp_path / "home" / ".config" / FILE
    save("two", other, environ, tmp_path)
    assert load("one", environ, tmp_path) == OWN
    assert load("two", environ, tmp_path) == other
    assert load("three", environ, tmp_path) is None
    save("one", other, environ, tmp_path)
    assert load("one", environ, tmp_path) == other
    assert [each.name for each in file.parent.iterdir()] == [FILE]


def test_the_users_own_goes_before_the_machines_and_it_lies_beside_a_named_file(tmp_path: Path) -> None:
    root = {"HOME": ""}
    save("one", OWN, root, tmp_path)
    home = {"HOME": str(tmp_path / "home")}
    assert load("one", home, tmp_path) == OWN
    newer = Calibration(Factor("plug factor", 1.3, 1.2, 1.5, "", "calibrated 2026-12-01 against a wall meter"), {})
    save("one", newer, home, tmp_path)
    assert load("one", home, tmp_path) == newer
    named = {**home, "TRAINWATT_CONFIG": str(tmp_path / "cluster" / "site.toml")}
    assert load("one", named, tmp_path) is None
    assert save("one", OWN, named, tmp_path) == tmp_path / "cluster" / FILE


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"hosts": []}',
        '{"hosts": {"one": 3}}',
        '{"hosts": {"one": {"factor": {"value": 2}}}}',
        json.dumps({"hosts": {"one": {**OWN.to_dict(), "factor": {**FACTOR.to_dict(), "low": 2.0}}}}),
    ],
)
def test_a_file_that_is_none_is_skipped_with_a_warning_and_never_raises(
    text: str, tmp_path: Path, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "home" / ".config" / FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert load("one", environ, tmp_path) is None
    assert FILE in caplog.text


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path, environ: dict[str, str]) -> None:
    file = tmp_path / "home" / ".config" / FILE
    file.parent.mkdir(parents=True)
    file.write_text("[1, 2]")
    with pytest.raises(ValueError, match="does not hold calibrations"):
        save("one", OWN, environ, tmp_path)
    assert file.read_text() == "[1, 2]"


def test_the_host_is_the_same_after_a_boot_and_differs_from_its_image(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    none = host_id(root=tmp_path)
    (tmp_path / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    one = host_id(root=tmp_path)
    assert one == host_id(root=tmp_path) != none
    assert len(one) == 16
    assert "0123456789" not in one
