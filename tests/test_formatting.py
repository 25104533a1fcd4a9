from __future__ import annotations

import re
from dataclasses import replace

import pytest

from trainwatt.accounting.timeline import Span
from trainwatt.formatting import duration_text, energy_range_text, energy_text, mass_range_text
from trainwatt.power.device import Device
from trainwatt.quantity import Quantity
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.records.summary_view import summary_view
from trainwatt.site import Site

GPU = Device("gpu:1", "gpu", "NVIDIA H100", "measured", "NVML total-energy counter", 0.95, 1.05)
CPU = Device("cpu:1", "cpu", "AMD EPYC 9654", "estimated", "model by CPU utilisation", 0.5, 1.5)
SLICE = Device("gpu:2/MIG-1", "gpu", "NVIDIA H100", "estimated", "NVML total-energy counter", 0.4, 2.3, share=3 / 7)


def report_of(*devices: Device) -> RunSnapshot:
    joules = {device.id: 1_800_000.0 for device in devices}
    train, validate = Span(3600.0, joules, 10, 1000), Span(600.0, {device.id: 3600.0 for device in devices}, 10, 0)
    site = Site.resolve(zone="FR", environ={})
    phases = {"train": train, "validate": validate}
    return RunSnapshot("run", "finished", 1.7e9, 1.7e9 + 4200, phases, {}, 10, devices, site)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kwh", "text"),
    [
        (0.0, "0 J"),
        (1e-6, "3.60 J"),
        (1e-4, "0.100 Wh"),
        (0.0123, "12.3 Wh"),
        (0.9994, "999 Wh"),
        (0.0099996, "10.0 Wh"),
        (1.0, "1.00 kWh"),
        (1234.5, "1230 kWh"),
    ],
)
def test_energy_reads_well(kwh: float, text: str) -> None:
    assert energy_text(kwh) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1 min 1 s"), (7200, "2 h 0 min"), (1e6, "277 h 46 min")],
)
def test_time_reads_well(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_range_is_told_in_one_unit() -> None:
    assert energy_range_text(Quantity(0.4, 0.5, 1.2)) == "500 Wh (400 to 1200)"
    assert mass_range_text(Quantity(0.0004, 0.0012, 0.002)) == "1.2 g (0.40 to 2.0)"


def test_the_summary_tells_phases_devices_and_meaning_with_their_sources() -> None:
    text = summary_view(report_of(GPU, CPU).summary()).text()
    for expected in (
        "run finished after 1 h 10 min, 1.00 kWh",
        "50% of it measured",
        "GPU NVIDIA H100",
        "measured: NVML total-energy counter",
        "estimated (0.5 to 1.5 times): model by CPU utilisation",
        "CO2e",
        "of water",
        "EUR",
        "France (given): 42 gCO2e/kWh",
        "2025",
    ):
        assert expected in text
    assert re.search(r"train +1 h 0 min +1.00 kWh +99.8% +1000 W", text)
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize(
    ("devices", "share"),
    [((GPU,), "all of it measured"), ((CPU,), "all of it estimated"), ((GPU, CPU), "50% of it measured")],
)
def test_the_first_line_says_how_much_was_measured(devices: tuple[Device, ...], share: str) -> None:
    assert share in summary_view(report_of(*devices).summary()).text().splitlines()[0]


def test_a_slice_says_which_part_of_its_gpu_it_is_charged() -> None:
    assert "43% of its GPU by MIG slice" in summary_view(report_of(SLICE).summary()).text()


def test_every_figure_of_the_summary_can_be_traced_to_source_and_year() -> None:
    text = " ".join(summary_view(report_of(GPU, CPU).summary()).text().split())
    for traced in (
        "carbon intensity 41.79 gCO2e/kWh",
        "Ember via Our World in Data (May 2026 copy) 2025, lifecycle, production, yearly mean",
        "PUE 1 (1 to 1.54): desktop or laptop outside a machine room",
        "water of the grid 3.674 L/kWh: EcoLogits 0.11.3",
        "price 0.1785 EUR/kWh",
        "embodied emissions of NVIDIA H100",
        "CO2e embodied in its GPUs, without the servers around them",
    ):
        assert traced in text
    assert "market-based" not in text


def test_what_is_by_contract_stands_beside_what_the_grid_emits() -> None:
    report = replace(report_of(GPU), site=Site(zone="FR", market_intensity=5, environ={}))
    assert "CO2e by contract (market-based)" in summary_view(report.summary()).text()


def test_each_figure_of_the_file_names_the_factors_behind_it() -> None:
    footprint = report_of(GPU, CPU).summary()["footprint"]
    names = {factor["name"] for factor in footprint["factors"]}
    assert all(factor["source"] for factor in footprint["factors"])
    for figure, behind in footprint["derivation"].items():
        assert footprint[figure]["low"] <= footprint[figure]["central"] <= footprint[figure]["high"]
        assert behind
        assert set(behind) <= names


def test_of_a_gpu_that_is_shared_as_much_is_embodied_in_the_run_as_it_is_charged() -> None:
    whole, part = report_of(GPU).footprint.embodied_kg, report_of(SLICE, CPU).footprint.embodied_kg
    assert whole
    assert part
    assert part.central == pytest.approx(3 / 7 * whole.central)
