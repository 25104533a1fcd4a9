from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import Footprint, elsewhere, embodied_kg, footprint, ranking
from trainwatt.quantity import Quantity
from trainwatt.site import Factor, Site, tables
from trainwatt.site.hardware import Hardware, embodied_factor

ENERGIES = st.tuples(st.floats(1e-6, 1e6), st.floats(0, 1), st.floats(1, 3)).map(
    lambda parts: Quantity(parts[0] * parts[1], parts[0], parts[0] * parts[2])
)
ZONES = st.sampled_from(sorted(tables.grids()))
REGIONS = st.sampled_from(sorted(tables.regions()))
PLACES = st.one_of(
    ZONES.map(lambda zone: Site.resolve(zone=zone, environ={})),
    REGIONS.map(lambda region: Site.resolve(cloud=region, environ={})),
)
COUNTRIES = st.sampled_from(sorted(zone for zone, row in tables.grids().items() if row["zone_type"] == "country"))
STATES = st.sampled_from(sorted(zone for zone in tables.grids() if zone.startswith("US-")))


def exactly(kwh: float) -> Quantity:
    return Quantity(kwh, kwh, kwh)


def quantities(figures: Footprint) -> list[Quantity]:
    all_of_them = (
        figures.facility_kwh,
        figures.co2e_kg,
        figures.water_l,
        figures.cost,
        figures.market_kg,
        figures.embodied_kg,
    )
    return [quantity for quantity in all_of_them if quantity is not None]


def bounds(quantity: Quantity) -> tuple[float, float, float]:
    return quantity.low, quantity.central, quantity.high


def kilograms(value: float) -> Factor:
    return Factor.given("embodied", value, "kgCO2e")


@given(ENERGIES, PLACES, st.floats(1e-3, 1e3))
def test_it_is_linear_in_the_energy(energy: Quantity, site: Site, factor: float) -> None:
    one, many = footprint(energy, site), footprint(energy.scaled(factor), site)
    for a, b in zip(quantities(one), quantities(many), strict=True):
        assert bounds(b) == pytest.approx(bounds(a.scaled(factor)))


@given(ENERGIES, PLACES)
def test_the_range_holds_the_figure(energy: Quantity, site: Site) -> None:
    for quantity in quantities(footprint(energy, site)):
        assert 0 <= quantity.low <= quantity.central <= quantity.high < math.inf


@given(COUNTRIES, COUNTRIES)
def test_two_countries_compare_as_their_grids_do(here: str, there: str) -> None:
    site = Site.resolve(zone=here, environ={})
    at_home = footprint(exactly(10.0), site)
    away = elsewhere(at_home, site, there)
    expected = float(tables.grids()[there]["gco2e_per_kwh"]) / float(tables.grids()[here]["gco2e_per_kwh"])
    assert away.co2e_kg.central / at_home.co2e_kg.central == pytest.approx(expected, rel=1e-12)
    assert elsewhere(away, site.moved(there), here).co2e_kg.central == pytest.approx(at_home.co2e_kg.central, rel=1e-12)


@given(COUNTRIES, STATES)
def test_two_bases_are_never_compared(country: str, state: str) -> None:
    for here, there in ((country, state), (state, country)):
        site = Site.resolve(zone=here, environ={})
        with pytest.raises(ArgumentError, match=f"zone='{there}'"):
            elsewhere(footprint(exactly(1.0), site), site, there)


def test_elsewhere_the_machine_is_the_same_and_the_grid_is_not() -> None:
    site = Site.resolve(cloud="aws/eu-north-1", environ={})
    held = [Hardware(kilograms(150), count=8)]
    here = footprint(exactly(100.0), site, hours=24, embodied=held)
    there = elsewhere(here, site, "FR")
    assert there.facility_kwh == here.facility_kwh
    assert there.embodied_kg == here.embodied_kg
    assert there.factors == (*site.moved("FR").factors, held[0].device)
    france = Site.resolve(zone="FR", environ={}).ewif.value
    assert there.water_l.central == pytest.approx(100 * (0.02 + 1.1 * france))


def test_elsewhere_costs_only_where_the_prices_compare() -> None:
    for tariff, zone, known in ((None, "DE", True), (None, "IN", False), (0.2, "DE", False)):
        site = Site.resolve(zone="FR", tariff=tariff, environ={})
        there = elsewhere(footprint(exactly(1.0), site), site, zone)
        assert (there.cost is not None) == known
        assert there.currency == ("EUR" if known else "")


def test_a_ranking_goes_from_least_to_most_and_holds_the_place_itself() -> None:
    site = Site.resolve(zone="FR", environ={})
    here = footprint(exactly(10.0), site)
    ranked = ranking(here, site)
    kg = [there.co2e_kg.central for _, there in ranked]
    assert kg == sorted(kg)
    assert dict(ranked)["FR"].co2e_kg == here.co2e_kg
    assert not {"WORLD", "US-CA", "CN-BJ"} & dict(ranked).keys()


def test_a_run_by_the_hour_is_compared_by_yearly_means() -> None:
    live, static = (Site(zone="GB", carbon_intensity=each, environ={}) for each in ("gb", None))
    told = live.metered(Factor("carbon intensity", 50.0, 50.0, 50.0, "gCO2e/kWh", "NESO", "2026", "direct"), 1.0, "")
    here = footprint(exactly(10.0), told)
    assert here.co2e_kg.central == pytest.approx(0.5)
    assert dict(ranking(here, told)) == dict(ranking(footprint(exactly(10.0), static), static))


def test_an_estimate_widens_the_range() -> None:
    site = Site.resolve(zone="FR", environ={})
    measured, estimated = footprint(Quantity(0.95, 1, 1.05), site), footprint(Quantity(0.5, 1, 1.5), site)
    assert estimated.co2e_kg.low < measured.co2e_kg.low < measured.co2e_kg.high < estimated.co2e_kg.high


def test_independent_errors_add_up_in_quadrature() -> None:
    product = Quantity(0.5, 1.0, 2.0).times(Factor("f", 1.0, 0.5, 2.0, "", "test"))
    assert bounds(product) == pytest.approx((2 ** -math.sqrt(2), 1.0, 2 ** math.sqrt(2)))


@pytest.mark.parametrize(
    ("run", "it_kwh", "pue", "intensity", "tonnes"),
    [
        ("GPT-3: Patterson et al. 2021, table 4; energy with PUE", 1_287_000, 1.0, 429, 552.1),
        ("BLOOM, dynamic: Luccioni et al. 2023, section 4.2; GPU hours x TDP", 1_082_990 * 0.4, 1.0, 57, 24.69),
        ("LLaMA-65B: Touvron et al. 2023, table 15; GPU hours x 400 W", 1_022_362 * 0.4, 1.1, 385, 173.0),
    ],
)
def test_published_runs_come_out_as_published(
    run: str, it_kwh: float, pue: float, intensity: float, tonnes: float
) -> None:
    site = Site.resolve(zone="FR", pue=pue, carbon_intensity=intensity, environ={})
    assert footprint(exactly(it_kwh), site).co2e_kg.central / 1000 == pytest.approx(tonnes, rel=0.005), run


def test_llama_took_as_much_energy_as_published() -> None:
    site = Site.resolve(zone="US", pue=1.1, environ={})
    assert footprint(exactly(1_022_362 * 0.4), site).facility_kwh.central / 1000 == pytest.approx(449, rel=0.005)


def test_blooms_hardware_and_sum_come_out_as_published() -> None:
    """150 kg per GPU, 2,500 kg per server of eight, six years at 85 %; 256,646 kWh of idle nodes."""
    hardware = Hardware(kilograms(150), chassis=kilograms(2500), lifetime_years=6)
    site = Site.resolve(zone="FR", pue=1.0, carbon_intensity=57, environ={})
    dynamic = footprint(exactly(433_196), site, hours=1_082_990, embodied=[hardware])
    idle = footprint(exactly(256_646), site)
    assert dynamic.embodied_kg is not None
    assert dynamic.embodied_kg.central / 1000 == pytest.approx(11.2, rel=0.005)
    whole_kg = dynamic.co2e_kg.plus(idle.co2e_kg).plus(dynamic.embodied_kg).central
    assert whole_kg / 1000 == pytest.approx(50.53, rel=0.005)


def test_eight_gpus_share_a_chassis() -> None:
    alone = embodied_kg([Hardware(kilograms(100), count=8)], 1000)
    housed = embodied_kg([Hardware(kilograms(100), count=8, chassis=kilograms(800))], 1000)
    assert alone.central == pytest.approx(800 * 1000 / (5 * 8760 * 0.85))
    assert housed.central == pytest.approx(2 * alone.central)


def test_the_range_of_embodied_emissions_is_that_of_the_sources() -> None:
    h100 = embodied_factor("NVIDIA H100 80GB HBM3")
    assert h100 is not None
    share = embodied_kg([Hardware(h100)], 24)
    assert share.high / share.central == pytest.approx(575.1 / 164)
    assert share.central / share.low == pytest.approx(164 / 116)


@pytest.mark.parametrize("hours", [None, -1, math.nan, math.inf])
def test_hardware_needs_hours(hours: float | None) -> None:
    site = Site.resolve(zone="FR", environ={})
    with pytest.raises(ArgumentError, match="hours="):
        footprint(exactly(1.0), site, hours=hours, embodied=[Hardware(kilograms(150))])


def test_without_hardware_nothing_is_embodied() -> None:
    figures = footprint(exactly(1.0), Site.resolve(zone="FR", environ={}))
    assert figures.embodied_kg is None
    assert figures.to_dict()["embodied_kg"] is None


def test_water_is_the_facilitys_and_the_grids() -> None:
    site = Site.resolve(zone="FR", pue=1.5, wue=0.4, environ={})
    assert footprint(exactly(2.0), site).water_l.central == pytest.approx(2 * (0.4 + 1.5 * site.ewif.value))


def test_water_that_a_facility_may_use_is_in_the_range() -> None:
    own = footprint(exactly(1.0), Site.resolve(zone="FR", pue=1.0, environ={})).water_l
    assert own.central == own.low == pytest.approx(3.6737)
    assert own.high == pytest.approx(3.6737 + 0.38)


def test_without_a_price_there_is_no_cost() -> None:
    assert footprint(exactly(1.0), Site.resolve(zone="NA", environ={})).cost is None
    paid = footprint(exactly(2.0), Site.resolve(zone="FR", pue=1.5, tariff=0.25, environ={}))
    assert paid.cost == Quantity(0.75, 0.75, 0.75)
    assert paid.currency == "EUR"


def test_no_energy_means_nothing() -> None:
    for quantity in quantities(footprint(exactly(0.0), Site.resolve(zone="FR", environ={}))):
        assert quantity == Quantity(0.0, 0.0, 0.0)


def test_every_figure_that_goes_in_can_be_traced() -> None:
    held = Hardware(kilograms(150), chassis=kilograms(2500))
    figures = footprint(exactly(1.0), Site.resolve(zone="FR", environ={}), hours=1, embodied=[held])
    names = [factor.name for factor in figures.factors]
    assert names == ["carbon intensity", "PUE", "WUE", "water of the grid", "price", "embodied", "embodied"]


@pytest.mark.parametrize("bad", [(2.0, 1.0, 3.0), (0.0, 2.0, 1.0), (0.0, math.nan, 1.0)])
def test_a_range_that_does_not_hold_its_figure_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ArgumentError, match="low="):
        Quantity(*bad)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Quantity(0.4, 1.2345, 1.97), "1.2 kg (0.40 to 2.0)"),
        (Quantity(0.0, 0.0996, 0.12), "0.10 kg (0 to 0.12)"),
        (Quantity(987.0, 12_345.0, 99_900.0), "12000 kg (990 to 100000)"),
    ],
)
def test_a_quantity_reads_with_two_significant_figures(quantity: Quantity, text: str) -> None:
    assert quantity.text("kg") == text


def test_a_market_based_line_is_there_only_where_a_contract_is_given() -> None:
    assert footprint(exactly(10.0), Site(zone="FR", environ={})).market_kg is None
    figures = footprint(exactly(10.0), Site(zone="FR", pue=1.5, market_intensity=20, environ={}))
    assert figures.market_kg == Quantity(0.3, 0.3, 0.3)
    assert figures.co2e_kg.central == pytest.approx(10 * 1.5 * 41.79 / 1000)
    assert "market-based carbon intensity" in [factor.name for factor in figures.factors]
    assert elsewhere(figures, Site(zone="FR", market_intensity=20, environ={}), "SE").market_kg is None
