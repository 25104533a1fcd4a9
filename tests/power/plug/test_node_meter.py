"""Meters of whole servers: a simulated ipmitool, and simulated trees of sysfs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainwatt.errors import SourceError
from trainwatt.power.plug.node_meter import ipmi, own_meter

READING = """
    Instantaneous power reading:                   {watts} Watts
    Minimum during sampling period:                 23 Watts
    Maximum during sampling period:                516 Watts
    Average power reading over sample period:      222 Watts
    IPMI timestamp:                           Thu Nov 26 08:49:46 2026
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}

"""


def ipmitool(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int = 0, error: str = "") -> Path:
    """Put an ipmitool into PATH that answers ``dcmi power reading`` alone."""
    (folder / "answer").write_text(text)
    tool = folder / "ipmitool"
    tool.write_text(
        f"#!/bin/sh\ntest \"$*\" = 'dcmi power reading' || exit 9\n"
        f"cat '{folder}/answer'\necho '{error}' >&2\nexit {code}\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "answer"


def test_the_present_power_of_ipmi_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ipmitool(tmp_path, monkeypatch, READING.format(watts=220, state="activated"))
    meter = ipmi()
    assert meter.watts() == 220
    answer.write_text(READING.format(watts=5120, state="activated"))
    assert meter.watts() == 5120
    assert meter.name == "the server's IPMI"


@pytest.mark.parametrize(
    ("text", "code", "error", "why"),
    [
        ("", 1, "Could not open device at /dev/ipmi0", "Could not open device at /dev/ipmi0"),
        (READING.format(watts=220, state="deactivated"), 0, "", "reports no power"),
        (READING.format(watts=0, state="activated"), 0, "", "reports no power"),
        ("DCMI request failed", 0, "", "reports no power"),
    ],
)
def test_an_ipmi_without_power_is_told(
    text: str, code: int, error: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipmitool(tmp_path, monkeypatch, text, code, error)
    with pytest.raises(SourceError, match=why):
        ipmi()


def test_a_server_without_ipmitool_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="not installed"):
        ipmi()


def test_cray_counters_are_the_nodes_own_meter(tmp_path: Path) -> None:
    counters = tmp_path / "cray" / "pm_counters"
    counters.mkdir(parents=True)
    (counters / "power").write_text("1412 W 1764000000000000 us\n")
    meter = own_meter(tmp_path)
    assert meter.watts() == 1412
    assert "Cray" in meter.name


def test_an_acpi_power_meter_is_the_nodes_own_and_other_sensors_are_not(tmp_path: Path) -> None:
    for number, (name, watts) in enumerate([("coretemp", 30), ("amdgpu", 300), ("power_meter", 415)]):
        folder = tmp_path / "class" / "hwmon" / f"hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "power1_average").write_text(f"{watts * 1_000_000}\n")
    assert own_meter(tmp_path).watts() == pytest.approx(415)


def test_a_node_without_a_meter_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no power meter of the whole node"):
        own_meter(tmp_path)
    counters = tmp_path / "cray" / "pm_counters"
    counters.mkdir(parents=True)
    (counters / "power").write_text("\n")
    with pytest.raises(SourceError, match="cannot be read as a number"):
        own_meter(tmp_path)
