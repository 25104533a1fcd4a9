"""The range of several devices: errors of one cause add up, those of different causes in quadrature."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins import nvml as standin
from standins.nvml import Constant, Machine, h100
from trainwatt.accounting.attempts import devices_of
from trainwatt.accounting.timeline import Span
from trainwatt.distributed.rank_record import RankRecord
from trainwatt.power.device import Device
from trainwatt.power.host import cpu_model, ram_model
from trainwatt.power.nvidia import discovery
from trainwatt.projection.projection import Projection
from trainwatt.quantity import Part, Quantity, summed
from trainwatt.records.job_reader import records_of
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.snapshot import RunSnapshot, energy_range
from trainwatt.records.summary import Summary
from trainwatt.site import Site

GPU = Device("gpu:0", "gpu", "NVIDIA H100", "measured", "NVML total-energy counter", 0.94, 1.06)
CPU = Device("cpu:0", "cpu", "AMD EPYC 9654", "estimated", "model by CPU utilisation", 0.4, 1.5)

SHARES = st.lists(st.floats(1, 1e9), min_size=1, max_size=70)
ERRORS = st.tuples(st.floats(0.01, 1), st.floats(1, 5))
DEVICES = st.lists(
    st.tuples(st.floats(0, 1e9), ERRORS, st.sampled_from(["sensor", "CPU model", "RAM model"]), st.floats(0, 1)),
    min_size=1,
    max_size=20,
)


def alike(device: Device, count: int) -> tuple[Device, ...]:
    return tuple(replace(device, id=f"{device.kind}:{number}") for number in range(count))


def ratios(total: Quantity) -> tuple[float, float]:
    return total.low / total.central, total.high / total.central


def energies(devices: tuple[Device, ...], joules: float = 1000.0) -> dict[str, float]:
    return {device.id: joules for device in devices}


@pytest.mark.parametrize("device", [GPU, CPU])
@pytest.mark.parametrize("count", [1, 2, 8, 64, 1000])
def test_like_devices_have_the_relative_range_of_one(device: Device, count: int) -> None:
    devices = alike(device, count)
    assert ratios(energy_range(energies(devices), devices)) == pytest.approx((device.low, device.high))


@given(SHARES)
def test_the_range_of_like_devices_does_not_depend_on_how_they_share_the_energy(joules: list[float]) -> None:
    devices = alike(CPU, len(joules))
    total = energy_range({device.id: each for device, each in zip(devices, joules, strict=True)}, devices)
    assert ratios(total) == pytest.approx((0.4, 1.5))


def test_different_causes_are_independent() -> None:
    total = energy_range({GPU.id: 300.0, CPU.id: 100.0}, (GPU, CPU))
    assert ratios(total) == pytest.approx((1 - (18**2 + 60**2) ** 0.5 / 400, 1 + (18**2 + 50**2) ** 0.5 / 400))


def test_the_part_of_an_error_that_is_a_devices_own_averages_out() -> None:
    """Of an error of 10 %, 6 % are shared and 8 % a device's own: on 64 devices 1 % remains of these."""
    devices = alike(replace(GPU, low=0.9, high=1.1, common=0.6), 64)
    assert ratios(energy_range(energies(devices), devices))[1] == pytest.approx(1 + (0.06**2 + 0.01**2) ** 0.5)
    assert ratios(energy_range(energies(devices[:1]), devices))[1] == pytest.approx(1.1)


@given(DEVICES)
def test_a_range_lies_between_that_of_independent_and_that_of_common_errors(
    parts: list[tuple[float, tuple[float, float], str, float]],
) -> None:
    devices = tuple(
        Device(f"d{n}", "gpu", "", "measured", "", low, high, cause=cause, common=common)
        for n, (_, (low, high), cause, common) in enumerate(parts)
    )
    joules = {f"d{n}": each[0] for n, each in enumerate(parts)}
    total = energy_range(joules, devices)
    assert 0 <= total.low <= total.central <= total.high
    alone = [energy_range({name: each}, devices) for name, each in joules.items()]
    above = [each.high - each.central for each in alone]
    assert total.high - total.central <= sum(above) + 1e-9
    assert total.high - total.central >= sum(each * each for each in above) ** 0.5 * (1 - 1e-9) - 1e-9


@given(DEVICES)
def test_a_range_grows_with_what_devices_share_and_with_each_further_device(
    parts: list[tuple[float, tuple[float, float], str, float]],
) -> None:
    def total(common: float, count: int) -> Quantity:
        return summed(
            Part(Quantity(joules * low, joules, joules * high), cause, common)
            for joules, (low, high), cause, _ in parts[:count]
        )

    widths = [total(common, len(parts)).high for common in (0.0, 0.5, 1.0)]
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(widths))
    highs = [total(1.0, count).high - total(1.0, count).central for count in range(1, len(parts) + 1)]
    assert all(later >= earlier * (1 - 1e-12) - 1e-6 for earlier, later in pairwise(highs))


@given(st.lists(st.tuples(st.floats(1, 1e9), ERRORS), min_size=1, max_size=70))
def test_devices_of_one_cause_are_never_known_better_than_the_best_of_them(
    parts: list[tuple[float, tuple[float, float]]],
) -> None:
    devices = tuple(
        Device(f"d{n}", "cpu", "", "estimated", "", low, high, cause="CPU model")
        for n, (_, (low, high)) in enumerate(parts)
    )
    low, high = ratios(energy_range({f"d{n}": joules for n, (joules, _) in enumerate(parts)}, devices))
    assert low <= max(device.low for device in devices) * (1 + 1e-9)
    assert high >= min(device.high for device in devices) * (1 - 1e-9)


def test_energy_of_an_unknown_device_counts() -> None:
    assert energy_range({"gone": 3_600_000.0}, ()) == Quantity(1.0, 1.0, 1.0)


# of real meters


def test_eight_measured_gpus_are_as_uncertain_as_one(nvml_library: standin.Library) -> None:
    with nvml_library.running(Machine(tuple(h100(Constant(300.0)) for _ in range(8)))):
        devices = tuple(meter.device for meter in discovery.find(environ={}).meters)
    assert len(devices) == 8
    assert len({device.error_cause for device in devices}) == 1
    assert ratios(energy_range(energies(devices), devices)) == pytest.approx((0.94, 1.06))


def test_the_models_of_many_hosts_err_alike() -> None:
    for module in (cpu_model, ram_model):
        (meter,) = module.find(environ={}).meters
        hosts = tuple(replace(meter.device, id=f"host-{number}") for number in range(64))
        assert ratios(energy_range(energies(hosts), hosts)) == pytest.approx((meter.device.low, meter.device.high))
        (ours,) = module.find(scope="process", environ={}).meters
        assert ours.device.error_cause


# in a summary


def snapshot(devices: tuple[Device, ...], projection: Projection | None = None) -> RunSnapshot:
    phases = {"train": Span(3600.0, energies(devices, 3.6e6), 1, 10)}
    site = Site(zone="FR", environ={})
    return RunSnapshot(
        "run",
        "finished",
        1.7e9,
        1.7e9 + 3600,
        phases,
        {},
        1,
        devices,
        site,
        projection=projection,  # type: ignore[arg-type]
    )


def test_a_summary_keeps_the_cause_for_resuming_and_merging() -> None:
    devices = alike(replace(GPU, cause="power sensor", common=0.5), 8)
    summary = snapshot(devices).summary()
    assert [(each["cause"], each["common"]) for each in summary["devices"]] == [("power sensor", 0.5)] * 8
    assert devices_of(summary) == devices
    (record,) = records_of(RecordedRun(Path(), Summary(summary), ()))
    assert record.devices == devices
    assert RankRecord.from_dict(record.to_dict()).devices == devices


def test_a_summary_of_an_older_version_has_the_causes_by_kind_and_source() -> None:
    summary = snapshot(alike(CPU, 8)).summary()
    old = [
        {name: value for name, value in each.items() if name not in ("cause", "common")} for each in summary["devices"]
    ]
    (record,) = records_of(RecordedRun(Path(), Summary({**summary, "devices": old}), ()))
    assert ratios(energy_range(energies(record.devices), record.devices)) == pytest.approx((0.4, 1.5))
    state = record.to_dict()
    for device in state["devices"]:
        del device["cause"], device["common"]
    devices = RankRecord.from_dict(state).devices
    assert ratios(energy_range(energies(devices), devices)) == pytest.approx((0.4, 1.5))
    assert asdict(devices[0])["cause"] == ""


def test_the_footprint_of_a_projection_includes_the_error_of_the_meters() -> None:
    """The CPU model's 0.4 to 1.5 is in the emissions of the whole run as it is in those so far."""
    energy = Quantity(9.9, 10.0, 10.1)
    made = snapshot(alike(CPU, 8), Projection(energy, 3600.0, 1800.0))
    assert made.projection_summary() is not None
    so_far, whole = made.footprint.facility_kwh, made.projected_footprint
    assert whole is not None
    assert whole.facility_kwh.low / whole.facility_kwh.central <= so_far.low / so_far.central + 1e-9
    assert whole.facility_kwh.high / whole.facility_kwh.central >= so_far.high / so_far.central - 1e-9
