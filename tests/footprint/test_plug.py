"""Energy at the plug, typical and calibrated, and its place in the chain of factors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import central_figures, elsewhere, footprint
from trainwatt.footprint.plug import TYPICAL, calibrate, machine_of, plug_energy, uncounted
from trainwatt.power.device import Device, Missing
from trainwatt.quantity import Quantity
from trainwatt.site import Factor, Site

GPU = Device("gpu:GPU-1", "gpu", "NVIDIA GeForce RTX 4090", "measured", "NVML total-energy counter", 0.94, 1.06)
CPU = Device("cpu:boot/package-0", "cpu", "Intel Core i9-13900K", "measured", "RAPL energy counter")
RAM = Device("ram:boot", "ram", "64 GB of memory", "estimated", "model by memory size", 0.4, 1.9)
NO_GPU = Missing("gpu", "NVML", "no NVIDIA driver is installed")
DEAD_GPU = Missing("gpu", "NVML", "GPU 1 does not respond", warn=True)

SITE = Site(zone="FR", pue=1.3, wue=0.4, market_intensity=20, environ={})
PLUG = Factor("plug factor", 1.25, 1.15, 1.4, "", "calibrated 2026-11-25 against a wall meter", basis="this host")
ENERGY = Quantity(0.9, 1.0, 1.2)


def h100(number: int) -> Device:
    return replace(GPU, id=f"gpu:{number}", name="NVIDIA H100 80GB HBM3")


# typical


def test_published_runs_with_a_wall_meter_lie_in_the_range_of_a_desktop() -> None:
    """Of 318 runs, readings were 0.67 to 0.80 of the plug by kind of work, 0.78 in total."""
    for part in (0.675, 0.732, 0.781, 0.802):
        plug = plug_energy(footprint(Quantity(part, part, part), SITE), (GPU, CPU, RAM), (), SITE)
        assert plug.basis == "typical"
        assert plug.machine == "desktop"
        assert plug.kwh is not None
        assert plug.kwh.low < 1.0 < plug.kwh.high


@pytest.mark.parametrize("node_w", [7050.0, 8400.0])
def test_published_nodes_of_eight_gpus_lie_in_the_range_of_a_server(node_w: float) -> None:
    """Eight H100 at their limit of 700 W, two CPUs and memory of 600 W."""
    plug = plug_energy(footprint(Quantity(6.2, 6.2, 6.2), SITE), (*map(h100, range(8)), CPU, RAM), (), SITE)
    assert plug.machine == "GPU server"
    assert plug.kwh is not None
    assert plug.kwh.low < node_w / 1000 < plug.kwh.high


@pytest.mark.parametrize(
    ("devices", "machine"),
    [
        ((CPU, RAM), "desktop"),
        ((GPU, CPU, RAM), "desktop"),
        ((h100(0), CPU, RAM), "GPU server"),
        (tuple(replace(GPU, id=f"gpu:{n}") for n in range(8)), "GPU server"),
    ],
)
def test_the_kind_of_machine_follows_from_its_gpus(devices: tuple[Device, ...], machine: str) -> None:
    assert machine_of(devices, SITE) == machine


def test_desktops_that_train_together_are_no_server() -> None:
    hosts = [(replace(GPU, id=f"gpu:{n}"), replace(CPU, id=f"cpu:boot-{n}/package-0")) for n in range(8)]
    assert machine_of((device for pair in hosts for device in pair), SITE) == "desktop"


def test_another_server_has_a_range_over_both_kinds() -> None:
    """Neither the published desktop nor a GPU server stands for it."""
    cloud = Site(cloud="aws/eu-west-3", environ={})
    assert machine_of((CPU, RAM), cloud) == "server"
    assert machine_of((h100(0), CPU, RAM), cloud) == "GPU server"
    for environ in ({"SLURM_JOB_ID": "7"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}):
        assert machine_of((GPU, CPU, RAM), Site(zone="FR", environ=environ)) == "server"
        assert machine_of((CPU, RAM), Site(zone="FR", pue=1.2, environ=environ)) == "server"
    assert TYPICAL["server"].low == min(factor.low for factor in TYPICAL.values())
    assert TYPICAL["server"].high == max(factor.high for factor in TYPICAL.values())


def test_a_typical_factor_is_only_told() -> None:
    here = footprint(ENERGY, SITE)
    assert plug_energy(here, (GPU, CPU, RAM), (), SITE).kwh == ENERGY.times(TYPICAL["desktop"])
    assert here.plug_kwh is None
    assert here.facility_kwh == ENERGY.times(SITE.pue)
    assert "plug factor" not in {factor.name for factor in here.factors}


@pytest.mark.parametrize(
    ("devices", "missing", "left_out"),
    [
        ((GPU, CPU, RAM), (), ()),
        ((CPU, RAM), (NO_GPU,), ()),
        ((CPU, RAM), (), ("gpu",)),
        ((CPU, RAM), (DEAD_GPU,), ("gpu",)),
        ((GPU, RAM), (), ("cpu",)),
        ((GPU,), (), ("cpu", "ram")),
        ((replace(GPU, covers=("cpu", "ram")),), (), ()),
        ((replace(GPU, method="not counted"), CPU, RAM), (NO_GPU,), ("gpu",)),
        ((GPU, replace(GPU, id="gpu:2", method="not counted"), CPU, RAM), (), ("gpu",)),
    ],
)
def test_no_factor_applies_if_a_kind_is_not_counted(
    devices: tuple[Device, ...], missing: tuple[Missing, ...], left_out: tuple[str, ...]
) -> None:
    assert uncounted(devices, missing) == left_out
    plug = plug_energy(footprint(ENERGY, SITE), devices, missing, SITE)
    assert plug.uncounted == left_out
    assert (plug.kwh is None) == bool(left_out)


# calibrated


def test_a_calibrated_factor_stands_before_the_pue_in_every_figure() -> None:
    without, here = footprint(ENERGY, SITE), footprint(ENERGY, SITE.calibrated(PLUG))
    assert here.energy_kwh == without.energy_kwh
    for name in ("facility_kwh", "co2e_kg", "market_kg", "water_l", "cost"):
        before, after = getattr(without, name), getattr(here, name)
        assert after.central == pytest.approx(1.25 * before.central)
        assert after.low <= after.central <= after.high
        assert after.high / after.central >= before.high / before.central - 1e-12
        assert here.derivation()[name][0] == "plug factor"
    plug = plug_energy(here, (GPU, CPU, RAM), (), SITE.calibrated(PLUG))
    assert plug.basis == "calibrated"
    assert plug.kwh is not None
    assert plug.kwh.central * 1.3 == pytest.approx(here.facility_kwh.central)
    names = [factor.name for factor in here.factors]
    assert names.index("plug factor") < names.index("PUE")


def test_the_figures_without_ranges_agree() -> None:
    site = SITE.calibrated(PLUG)
    whole = footprint(ENERGY, site)
    assert whole.cost is not None
    known = (whole.co2e_kg.central, whole.water_l.central, whole.cost.central)
    assert central_figures(1.0, site) == pytest.approx(known)


def test_another_grid_has_the_same_plug_and_a_record_keeps_it() -> None:
    site = Site(zone="FR", environ={}).calibrated(PLUG)
    here = footprint(ENERGY, site)
    there = elsewhere(here, site, "DE")
    assert there.plug_kwh == here.plug_kwh == ENERGY.times(PLUG)
    assert Site.from_dict(site.to_dict()).plug == PLUG
    old = site.to_dict()
    del old["factors"]["plug"]
    assert Site.from_dict(old).plug is None


def test_attempts_add_up_at_the_plug_if_all_are_calibrated() -> None:
    calibrated, other = footprint(ENERGY, SITE.calibrated(PLUG)), footprint(ENERGY, SITE)
    assert calibrated.plus(calibrated).plug_kwh == ENERGY.times(PLUG).scaled(2)
    mixed = calibrated.plus(other)
    assert mixed.plug_kwh is None
    assert plug_energy(mixed, (GPU, CPU, RAM), (), SITE.calibrated(PLUG)).basis == "typical"
    restored = type(calibrated).from_figures(calibrated.figures(), calibrated.factors)
    assert restored.plug_kwh == calibrated.plug_kwh
    figures = calibrated.figures()
    del figures["plug_kwh"]
    assert type(calibrated).from_figures(figures).plug_kwh is None


# calibrating


def calibrated(read: Quantity, wh: float, step_wh: float = 0.0) -> Factor:
    at_plug = Quantity((wh - step_wh / 2) / 1000, wh / 1000, (wh + step_wh / 2) / 1000)
    return calibrate(read, at_plug, date="2026-11-25", meter="a wall meter", given=("--wall-wh", wh))


READ = Quantity(0.376, 0.4, 0.424)


def test_a_calibration_names_meter_and_date_and_has_a_range() -> None:
    factor = calibrated(READ, 500)
    assert factor.value == pytest.approx(1.25)
    assert 1 < factor.low < 1.25 < factor.high < 1.5
    assert factor.source == "calibrated 2026-11-25 against a wall meter"
    assert not factor.is_given


def test_a_calibration_covers_the_other_loads_of_the_published_desktop() -> None:
    """Calibrated with the median model, 1.39, its range covers nine of ten models: 1.23 to 1.60."""
    factor = calibrated(Quantity(1.0, 1.0, 1.0), 1390)
    assert (factor.low, factor.high) == pytest.approx((1.23, 1.60))


def test_the_resolution_of_the_meter_is_in_the_range() -> None:
    assert calibrated(READ, 420, 20).low < 0.98 * calibrated(READ, 420).value
    assert calibrated(READ, 420, 200).high > 1.2 * calibrated(READ, 420).value


@pytest.mark.parametrize("wh", [1, 100, 300, 360, 1300, 1e6])
def test_an_implausible_calibration_is_refused(wh: float) -> None:
    with pytest.raises(ArgumentError, match=r"--wall-wh=.*at the plug and 400 Wh read"):
        calibrated(READ, wh)


@given(st.floats(0.4, 3), st.floats(1, 1e6))
def test_every_range_holds_its_factor_and_has_a_width(value: float, wh: float) -> None:
    """An estimate by a model may be up to 2.5 times too high: then the plug may draw less than was read."""
    factor = calibrated(Quantity(0.0, wh / 1000, 10 * wh), value * wh)
    assert 0 < factor.low <= factor.value / 1.0199
    assert factor.high >= factor.value * 1.0199


def test_without_energy_there_is_no_factor() -> None:
    with pytest.raises(ArgumentError, match="energy above 0"):
        calibrated(Quantity(0.0, 0.0, 0.0), 100)
