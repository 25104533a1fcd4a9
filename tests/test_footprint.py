from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.footprint import Quantity, footprint
from trainwatt.site import Site, tables

ENERGIES = st.tuples(st.floats(1e-6, 1e6), st.floats(0.3, 1), st.floats(1, 3)).map(
    lambda parts: Quantity(parts[0] * parts[1], parts[0], parts[0] * parts[2])
)
ZONES = st.sampled_from(sorted(tables.grids()))


def exactly(kwh: float) -> Quantity:
    return Quantity(kwh, kwh, kwh)


@given(ENERGIES, ZONES, st.floats(1e-3, 1e3))
def test_it_is_linear_in_the_energy(energy: Quantity, zone: str, factor: float) -> None:
    site = Site.resolve(zone=zone, environ={})
    more = Quantity(energy.low * factor, energy.central * factor, energy.high * factor)
    one, many = footprint(energy, site), footprint(more, site)
    for a, b in ((one.co2e_kg, many.co2e_kg), (one.water_l, many.water_l), (one.facility_kwh, many.facility_kwh)):
        assert (b.low, b.central, b.high) == pytest.approx((a.low * factor, a.central * factor, a.high * factor))


@given(ENERGIES, ZONES)
def test_the_range_holds_the_figure(energy: Quantity, zone: str) -> None:
    figures = footprint(energy, Site.resolve(zone=zone, environ={}))
    for quantity in (figures.facility_kwh, figures.co2e_kg, figures.water_l, figures.cost):
        if quantity is not None:
            assert quantity.low <= quantity.central * (1 + 1e-12)
            assert quantity.central <= quantity.high * (1 + 1e-12)


@given(ZONES, ZONES)
def test_two_regions_compare_as_their_grids_do(here: str, there: str) -> None:
    sites = [Site.resolve(zone=zone, environ={}) for zone in (here, there)]
    kilograms = [footprint(exactly(10.0), site).co2e_kg.central for site in sites]
    expected = sites[1].carbon_intensity.value / sites[0].carbon_intensity.value
    assert kilograms[1] / kilograms[0] == pytest.approx(expected)


def test_an_estimate_widens_the_range() -> None:
    site = Site.resolve(zone="FR", environ={})
    measured, estimated = footprint(Quantity(0.95, 1, 1.05), site), footprint(Quantity(0.5, 1, 1.5), site)
    assert estimated.co2e_kg.low < measured.co2e_kg.low < measured.co2e_kg.high < estimated.co2e_kg.high


@pytest.mark.parametrize(
    ("run", "it_kwh", "pue", "intensity", "tonnes"),
    [
        ("GPT-3", 1_287_000, 1.0, 429, 552.1),
        ("BLOOM", 1_082_990 * 0.4, 1.0, 57, 24.69),
        ("LLaMA-65B", 1_022_362 * 0.4, 1.1, 385, 173.0),
    ],
)
def test_published_runs_come_out_as_published(
    run: str, it_kwh: float, pue: float, intensity: float, tonnes: float
) -> None:
    site = Site.resolve(zone="FR", pue=pue, carbon_intensity=intensity, environ={})
    assert footprint(exactly(it_kwh), site).co2e_kg.central / 1000 == pytest.approx(tonnes, rel=0.005), run


def test_water_is_the_facilitys_and_the_grids() -> None:
    site = Site.resolve(zone="FR", pue=1.5, wue=0.4, environ={})
    assert footprint(exactly(2.0), site).water_l.central == pytest.approx(2 * (0.4 + 1.5 * site.ewif.value))


def test_without_a_price_there_is_no_cost() -> None:
    assert footprint(exactly(1.0), Site.resolve(zone="NA", environ={})).cost is None
    cost = footprint(exactly(2.0), Site.resolve(zone="FR", tariff=0.25, environ={})).cost
    assert cost == Quantity(0.5, 0.5, 0.5)


def test_no_energy_means_nothing() -> None:
    assert footprint(exactly(0.0), Site.resolve(zone="FR", environ={})).co2e_kg == Quantity(0.0, 0.0, 0.0)
