"""``trainwatt calibrate``, from a meter to the figures of later runs on the host."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from standins import nvml as standin
from standins.nvml import Constant, h100
from tests.live.test_redfish import Controller, chassis, controller
from tests.power.plug.test_node_meter import READING, ipmitool
from trainwatt import measure, read_run
from trainwatt.cli import main
from trainwatt.export import emissions_row, latex, markdown
from trainwatt.power.device import Device
from trainwatt.records.run_folder import read_summary
from trainwatt.reporting.html.other_grids import places_of
from trainwatt.reporting.html.run_page import run_page
from trainwatt.site.calibration import FILE
from trainwatt.testing import ConstantCounter, ScriptedCounter, VirtualClock, VirtualTracker

Capture = pytest.CaptureFixture[str]

__all__ = ["controller"]

GPU = Device("gpu:GPU-1", "gpu", "NVIDIA GeForce RTX 4090", "measured", "NVML total-energy counter", 0.94, 1.06)
CPU = Device("cpu:boot/package-0", "cpu", "Intel Core i9-13900K", "measured", "RAPL energy counter")
RAM = Device("ram:boot", "ram", "64 GB of memory", "estimated", "model by memory size", 0.4, 1.9)
BEGAN_S = 1.7e9 + 1000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own, in which calibrations are kept."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TRAINWATT_CONFIG", raising=False)
    return tmp_path / "home"


def wave_j(time_s: float) -> float:
    """300 W; for 40 s from 60 s on 500 W."""
    return 300 * time_s + 200 * min(max(time_s - 1060, 0.0), 40.0)


def run(folder: Path, name: str, devices: tuple[Device, ...] = (GPU, CPU, RAM), seconds: float = 90.0) -> Path:
    """Measure a run: 300 W of GPU, 80 W of CPU, 20 W of memory, 10 Wh in all."""
    clock = VirtualClock()
    watts = {"cpu": 80.0, "ram": 20.0}
    meters = [
        ScriptedCounter(clock, wave_j, device=device)
        if name == "wave" and device.kind == "gpu"
        else ConstantCounter(clock, watts.get(device.kind, 300.0), device=device)
        for device in devices
    ]
    with VirtualTracker(clock, meters, output_dir=folder, run_name=name, zone="FR", pue=1.2, wue=0.1) as tracker:
        for _ in tracker.epochs(2):
            tracker.advance(seconds / 2)
            tracker.step()
    return folder / name


def out(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


# a wall meter over the whole run


def test_before_a_calibration_the_plug_is_told_and_changes_nothing(tmp_path: Path) -> None:
    summary = read_summary(run(tmp_path, "one"))
    assert summary["plug"]["basis"] == "typical"
    assert summary["plug"]["machine"] == "desktop"
    assert summary["plug"]["kwh"]["central"] == pytest.approx(0.01 * 1.39, rel=1e-3)
    assert summary["footprint"]["plug_kwh"] is None
    assert summary["footprint"]["facility_kwh"]["central"] == pytest.approx(0.012, rel=1e-3)
    told = read_run(tmp_path / "one").summary.text()
    assert "at the plug about 13.9 Wh (" in told
    assert "1.39 times the readings, as on a typical desktop; not in the CO2e" in told


def test_a_calibration_is_used_and_named_by_later_runs_on_the_host(tmp_path: Path, capsys: Capture, home: Path) -> None:
    before = read_summary(run(tmp_path, "one"))
    told = out(capsys, "calibrate", str(tmp_path / "one"), "--wall-wh", "12.5")
    assert "1.25 times the energy that the devices report (1.15 to 1.38)" in told
    assert "calibrated 2023-11-14 against a wall meter" in told
    assert str(home / ".config" / FILE) in told
    after = read_summary(run(tmp_path, "two"))
    assert after["total_kwh"] == pytest.approx(before["total_kwh"])
    assert after["plug"]["basis"] == "calibrated"
    assert after["plug"]["kwh"]["central"] == pytest.approx(0.0125, rel=1e-3)
    assert after["plug"]["kwh"]["low"] < 0.0125 < after["plug"]["kwh"]["high"]
    for name in ("facility_kwh", "co2e_kg", "water_l", "cost"):
        ratio = after["footprint"][name]["central"] / before["footprint"][name]["central"]
        assert ratio == pytest.approx(1.25, rel=1e-3)
        assert after["footprint"]["derivation"][name][0] == "plug factor"
    text = read_run(tmp_path / "two").summary.text()
    assert "at the plug about 12.5 Wh" in text
    assert "calibrated 2023-11-14 against a wall meter" in text
    assert "plug factor 1.25 (1.14" in text


def test_whatever_shows_a_footprint_agrees_with_the_chain(tmp_path: Path, capsys: Capture) -> None:
    out(capsys, "calibrate", str(run(tmp_path, "one")), "--wall-wh", "12.5")
    summary = read_summary(run(tmp_path, "two"))
    kg = summary["footprint"]["co2e_kg"]["central"]
    row = emissions_row(summary)
    assert row["energy_consumed"] == pytest.approx(0.01 * 1.25 * 1.2, rel=1e-3)
    assert sum(float(row[f"{kind}_energy"] or 0) for kind in ("cpu", "gpu", "ram")) == pytest.approx(0.015, rel=1e-3)
    places = places_of(summary)
    assert places is not None
    assert next(mass.central for zone, _, mass, _ in places.ranked if zone == "FR") == pytest.approx(kg)
    for cited in (markdown(summary), latex(summary)):
        assert "1.25 times as much energy at the plug" in cited
    page = run_page(read_run(tmp_path / "two"))
    for shown in (
        "At the plug, calibrated",
        "12.5 Wh",
        "energy at the plug",
        "calibrated 2023-11-14 against a wall meter",
    ):
        assert shown in page
    assert "At the plug, typical" in run_page(read_run(tmp_path / "one"))


def test_the_metrics_of_a_calibrated_host_agree_with_its_summary(tmp_path: Path, capsys: Capture) -> None:
    out(capsys, "calibrate", str(run(tmp_path, "one")), "--wall-wh", "12.5")
    clock = VirtualClock()
    watts = {GPU: 300.0, CPU: 80.0, RAM: 20.0}
    meters = [ConstantCounter(clock, each, device=device) for device, each in watts.items()]
    tracker = VirtualTracker(clock, meters, zone="FR", pue=1.2, wue=0.1)
    with tracker:
        tracker.advance(90)
        snapshot = tracker.snapshot()
        assert snapshot is not None
        metrics, footprint = snapshot.metrics(), snapshot.footprint
    assert metrics["energy/total_kwh"] == pytest.approx(0.01, rel=1e-3)
    assert metrics["footprint/co2e_kg"] == pytest.approx(footprint.co2e_kg.central)
    assert footprint.facility_kwh.central == pytest.approx(0.015, rel=1e-3)
    half = snapshot.footprint_of(0.005)
    assert half.co2e_kg.central == pytest.approx(footprint.co2e_kg.central / 2, rel=1e-3)


def test_a_calibration_is_not_used_for_other_sources(
    tmp_path: Path, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """It was made with the CPU's counter; a later run cannot read that and estimates the CPU."""
    out(capsys, "calibrate", str(run(tmp_path, "one")), "--wall-wh", "12.5")
    model = replace(CPU, id="cpu:boot", method="estimated", source="model by CPU utilisation", low=0.4, high=1.5)
    with caplog.at_level(logging.WARNING):
        summary = read_summary(run(tmp_path, "two", (GPU, model, RAM)))
    assert summary["plug"]["basis"] == "typical"
    assert summary["footprint"]["plug_kwh"] is None
    assert "is not used" in caplog.text
    assert "RAPL energy counter" in caplog.text


def test_a_run_on_several_hosts_says_that_the_factor_is_that_of_one(tmp_path: Path, capsys: Capture) -> None:
    out(capsys, "calibrate", str(run(tmp_path, "one")), "--wall-wh", "12.5")
    both = (GPU, CPU, RAM, replace(CPU, id="cpu:other/package-0"), replace(RAM, id="ram:other"))
    told = read_run(run(tmp_path, "two", both)).summary.text()
    assert "calibrated 2023-11-14 against a wall meter of one of 2 hosts" in told


def test_merging_keeps_the_host_and_the_factor(tmp_path: Path, capsys: Capture) -> None:
    out(capsys, "calibrate", str(run(tmp_path, "one")), "--wall-wh", "12.5")
    folder = run(tmp_path, "two")
    summary = read_summary(folder)
    (folder / "summary.json").write_text(json.dumps({**summary, "host": "another"}))
    merged = json.loads(out(capsys, "merge", str(folder), "--json"))
    assert merged["host"] == "another"
    assert merged["plug"] == summary["plug"]
    assert merged["footprint"]["co2e_kg"] == pytest.approx(summary["footprint"]["co2e_kg"])


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        ((GPU, CPU), "at the plug: unknown, as RAM is not counted"),
        ((GPU,), "at the plug: unknown, as CPU and RAM are not counted"),
        ((CPU, RAM), "at the plug: unknown, as GPU is not counted"),
    ],
)
def test_what_is_not_counted_is_named(devices: tuple[Device, ...], told: str, tmp_path: Path) -> None:
    folder = run(tmp_path, "one", devices)
    summary = read_summary(folder)
    assert summary["plug"]["kwh"] is None
    assert told in read_run(folder).summary.text()
    assert told in run_page(read_run(folder))


@pytest.mark.parametrize("wh", ["9.1", "32", "0.1"])
def test_an_implausible_reading_is_refused_and_nothing_is_stored(
    wh: str, tmp_path: Path, capsys: Capture, home: Path
) -> None:
    told = out(capsys, "calibrate", str(run(tmp_path, "one", (CPU, RAM, GPU))), "--wall-wh", wh, code=2)
    assert f"--wall-wh={float(wh)}" in told
    assert f"{wh} Wh at the plug and 10 Wh read by the devices" in told
    assert not (home / ".config").exists()


def test_a_trial_stores_nothing_and_json_is_complete(tmp_path: Path, capsys: Capture, home: Path) -> None:
    folder = str(run(tmp_path, "one"))
    made = json.loads(out(capsys, "calibrate", folder, "--wall-wh", "12.55", "--dry-run", "--json"))
    assert made["factor"]["value"] == pytest.approx(1.255, rel=1e-3)
    assert made["plug_kwh"]["high"] - made["plug_kwh"]["low"] == pytest.approx(1e-5)
    assert made["sources"]["cpu"] == ["RAPL energy counter"]
    assert made["file"] is None
    assert not (home / ".config").exists()


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        ((replace(GPU, id="gpu:GPU-1/process-7-1"), CPU, RAM), 'scope="machine"'),
        ((CPU, replace(CPU, id="cpu:other/package-0"), RAM), "one host; this one ran on 2"),
    ],
)
def test_a_run_that_a_plug_cannot_be_compared_with_is_refused(
    devices: tuple[Device, ...], told: str, tmp_path: Path, capsys: Capture
) -> None:
    assert told in out(capsys, "calibrate", str(run(tmp_path, "one", devices)), "--wall-wh", "12.5", code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["--wall-wh", "-3", "run"],
        ["--wall-wh", "much", "run"],
        ["--ipmi", "--wall-wh", "3", "run"],
        ["--ipmi", "--seconds", "0"],
    ],
)
def test_a_wrong_command_line_is_told(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", *arguments])
    assert stop.value.code == 2
    assert "usage: trainwatt calibrate" in capsys.readouterr().err


def test_a_meter_without_its_run_and_a_run_without_its_meter_are_told(tmp_path: Path, capsys: Capture) -> None:
    assert "the folder of the run that --wall-wh is about" in out(capsys, "calibrate", "--wall-wh", "3", code=2)
    assert "a server's own meter is read now" in out(capsys, "calibrate", str(tmp_path), "--ipmi", code=2)


# a wall meter over time


def meter_csv(path: Path, watts: Callable[[float], float], from_s: float, to_s: float, ahead_s: float = 0.0) -> str:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "watts"])
        for second in range(int(from_s), int(to_s) + 1, 2):
            rows.writerow([BEGAN_S + second + ahead_s, round(watts(second), 1)])
    return str(path)


def wall_w(second: float) -> float:
    """1.3 times the run's 400 and 600 W, and 60 W before and after it."""
    if not 0 <= second <= 240:
        return 60.0
    return 1.3 * (600.0 if 60 <= second < 100 else 400.0)


@pytest.mark.parametrize(("from_s", "to_s", "ahead_s"), [(-60, 300, 0), (40, 180, 0), (-60, 300, 45), (-60, 300, -20)])
def test_the_log_of_a_wall_meter_is_matched_with_the_runs_power(
    from_s: float, to_s: float, ahead_s: float, tmp_path: Path, capsys: Capture
) -> None:
    """Logged longer or shorter than the run, and by a clock that is wrong."""
    folder = run(tmp_path, "wave", seconds=240.0)
    log = meter_csv(tmp_path / "meter.csv", wall_w, from_s, to_s, ahead_s)
    made = json.loads(out(capsys, "calibrate", str(folder), "--wall-csv", log, "--json"))
    assert made["factor"]["value"] == pytest.approx(1.3, rel=0.02)
    assert made["factor"]["low"] < 1.3 < made["factor"]["high"]
    assert read_summary(run(tmp_path, "two"))["plug"]["basis"] == "calibrated"


def test_a_log_of_another_day_is_refused(tmp_path: Path, capsys: Capture) -> None:
    folder = run(tmp_path, "wave", seconds=240.0)
    log = meter_csv(tmp_path / "meter.csv", wall_w, 86_400, 90_000)
    assert "a log of the time of the run" in out(capsys, "calibrate", str(folder), "--wall-csv", log, code=2)


# meters of a server


@pytest.fixture
def server(nvml_library: standin.Library) -> Iterator[None]:
    """A GPU of 600 W; this machine's CPU and memory are estimated or read."""
    with nvml_library.running(h100(Constant(600.0))):
        yield


def live(capsys: Capture, *arguments: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(out(capsys, "calibrate", *arguments, "--seconds", "1", "--json"))
    return made


@pytest.mark.usefixtures("server")
def test_ipmi_is_read_beside_the_devices(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    ipmitool(tmp_path, monkeypatch, READING.format(watts=900, state="activated"))
    made = live(capsys, "--ipmi")
    assert made["plug_kwh"]["central"] == pytest.approx(900 * made["seconds"] / 3.6e6)
    assert made["read_kwh"]["central"] > 550 * made["seconds"] / 3.6e6
    assert 1 < made["factor"]["value"] < 1.65
    assert "against the server's IPMI" in made["factor"]["source"]
    assert set(made["sources"]) == {"gpu", "cpu", "ram"}


@pytest.mark.usefixtures("server")
def test_redfish_is_read_beside_the_devices(controller: Controller, capsys: Capture) -> None:
    controller.resources = {
        **chassis("Self"),
        "/redfish/v1/Chassis/Self": {"PowerControl": [{"PowerConsumedWatts": 900}]},
    }
    made = live(capsys, "--redfish", controller.url)
    assert made["plug_kwh"]["central"] == pytest.approx(900 * made["seconds"] / 3.6e6)
    assert "against the server's Redfish power meter" in made["factor"]["source"]


@pytest.mark.usefixtures("server")
def test_a_live_calibration_is_used_by_a_run_that_finds_the_same_sources(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipmitool(tmp_path, monkeypatch, READING.format(watts=900, state="activated"))
    live(capsys, "--ipmi")
    with measure(zone="FR", output_dir=None, verbose=False) as measured:
        measured.step()
    assert measured.summary["plug"]["basis"] == "calibrated"
    assert "against the server's IPMI" in measured.summary["plug"]["factor"]["source"]


@pytest.mark.parametrize("arguments", [["--redfish", "http://127.0.0.1:9"], ["--node-meter"], ["--ipmi"]])
def test_a_meter_that_is_not_there_is_told(
    arguments: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"trainwatt: {arguments[0]}=" in out(capsys, "calibrate", *arguments, code=2)


def test_an_older_run_of_another_boot_is_refused(tmp_path: Path, capsys: Capture) -> None:
    folder = run(tmp_path, "one")
    summary = read_summary(folder)
    del summary["host"]
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "measured on this host" in out(capsys, "calibrate", str(folder), "--wall-wh", "12.5", code=2)
