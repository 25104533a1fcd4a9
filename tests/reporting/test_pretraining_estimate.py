"""Before training: hours times hardware times region."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.errors import ArgumentError
from trainwatt.reporting.pretraining_estimate import estimate
from trainwatt.site import Site, tables
from trainwatt.site.hardware import board_power

FRANCE = Site(zone="FR", environ={})


@given(
    st.sampled_from([row["model"] for row in tables.rows("gpu_power.csv")]), st.integers(1, 10_000), st.floats(0.1, 1e5)
)
def test_it_is_hours_times_hardware_and_its_range_is_wide(gpu: str, count: int, hours: float) -> None:
    expected = estimate(gpu, count, hours, FRANCE)
    energy = expected.footprint.energy_kwh
    assert energy.central == pytest.approx(count * hours * expected.power.value / 1000)
    assert energy.high / energy.low > 4
    assert energy.low < energy.central < energy.high


@pytest.mark.parametrize(
    ("run", "count", "hours", "watts", "pue", "intensity", "tonnes"),
    [
        ("BLOOM, dynamic (Luccioni et al. 2023)", 384, 1_082_990 / 384, 400, 1.0, 57, 24.69),
        ("LLaMA-65B (Touvron et al. 2023)", 2048, 1_022_362 / 2048, 400, 1.1, 385, 173.0),
    ],
)
def test_published_runs_come_out_as_published(
    run: str, count: int, hours: float, watts: float, pue: float, intensity: float, tonnes: float
) -> None:
    site = Site(zone="FR", pue=pue, carbon_intensity=intensity, environ={})
    known = estimate("A100 SXM4 80GB", count, hours, site, watts=watts)
    guessed = estimate("A100 SXM4 80GB", count, hours, site)
    for expected in (known, guessed):
        assert expected.footprint.co2e_kg.central / 1000 == pytest.approx(tonnes, rel=0.005), run


@pytest.mark.parametrize(
    ("gpu", "count", "pue"), [("H100", 8, 1.54), ("T4", 1, 1.54), ("RTX 4090", 8, 1.54), ("RTX 4090", 1, 1)]
)
def test_the_pue_is_that_of_where_such_gpus_stand(gpu: str, count: int, pue: float) -> None:
    for watts in (None, 300.0):
        expected = estimate(gpu, count, 10, FRANCE, watts=watts)
        assert expected.site.pue.value == pue
        facility_kwh = expected.footprint.facility_kwh
        assert facility_kwh.central == pytest.approx(expected.footprint.energy_kwh.central * pue)
        assert ("assumed: unknown data centre" in expected.text()) == (pue > 1)
    assert estimate(gpu, count, 10, Site(zone="FR", pue=1.2, environ={})).site.pue.value == 1.2


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("H100", 700),
        ("h100 pcie", 350),
        ("NVIDIA A100-SXM4-80GB", 400),
        ("RTX 4090", 450),
        ("Tesla V100-PCIE-16GB", 250),
    ],
)
def test_a_board_is_found_by_the_name_that_people_or_its_driver_use(name: str, watts: float) -> None:
    assert board_power(name).value == watts


def test_a_name_that_may_mean_several_boards_has_the_range_of_all() -> None:
    power = board_power("H100")
    assert (power.low, power.high) == (350, 700)
    assert "H100 PCIe" in power.note


@pytest.mark.parametrize("name", ["", "4090", "X100", "NVIDIA"])
def test_an_unknown_board_is_told(name: str) -> None:
    with pytest.raises(ArgumentError, match="gpu="):
        board_power(name)


@pytest.mark.parametrize(
    ("name", "values"), [("count", (0, 1.0, None)), ("hours", (1, 0.0, None)), ("watts", (1, 1.0, 0.0))]
)
def test_what_cannot_be_is_told(name: str, values: tuple[int, float, float | None]) -> None:
    count, hours, watts = values
    with pytest.raises(ArgumentError, match=f"{name}="):
        estimate("H100", count, hours, FRANCE, watts=watts)
