from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trainwatt.site
from trainwatt.errors import ArgumentError
from trainwatt.site import Factor, Site, tables

ZONES = sorted(tables.grids())
REGIONS = sorted(tables.regions())


def ordered(factor: Factor) -> bool:
    return 0 <= factor.low <= factor.value <= factor.high


@pytest.mark.parametrize("zone", ZONES)
def test_every_zone_has_a_carbon_intensity_with_source_and_year(zone: str) -> None:
    site = Site.resolve(zone=zone, environ={})
    factor = site.carbon_intensity
    assert factor.low < factor.value < factor.high
    assert factor.source
    assert int(factor.year) >= 2022
    assert factor.basis.startswith(("lifecycle", "direct"))
    assert site.ewif.value > 0
    assert all(ordered(factor) and factor.name and factor.source for factor in site.factors)


@pytest.mark.parametrize("region", REGIONS)
def test_every_cloud_region_lies_in_a_known_zone(region: str) -> None:
    site = Site.resolve(cloud=region, environ={})
    assert site.cloud == region
    assert site.zone.partition("-")[0] == tables.regions()[region]["country"]
    assert site.pue.value >= 1
    assert all(ordered(factor) and factor.source for factor in site.factors)


@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ("FR", "FR"),
        ("fra", "FR"),
        (" France ", "FR"),
        ("NA", "NA"),
        ("NAM", "NA"),
        ("us-ca", "US-CA"),
        ("CN-BJ", "CN-BJ"),
        ("GE", "GE"),
        ("US-GA", "US-GA"),
        ("world", "WORLD"),
    ],
)
def test_a_place_may_be_written_in_several_ways(given: str, zone: str) -> None:
    assert Site.resolve(zone=given, environ={}).zone == zone


def test_na_is_namibia() -> None:
    assert Site.resolve(zone="NA", environ={}).name == "Namibia"


@pytest.mark.parametrize(
    ("region", "zone"),
    [
        ("aws/us-east-1", "US-VA"),
        ("AWS/us-west-2", "US-OR"),
        ("azure/southcentralus", "US-TX"),
        ("gcp/us-central1", "US-IA"),
        ("ovh/us-hillsboro", "US-OR"),
        ("aws/us-gov-east-1", "US"),
    ],
)
def test_a_cloud_region_in_the_united_states_is_placed_in_its_state_where_that_is_known(region: str, zone: str) -> None:
    assert Site.resolve(cloud=region, environ={}).zone == zone


def test_where_zone_and_cloud_differ_the_zone_has_the_grid_and_the_cloud_the_facility() -> None:
    site = Site.resolve(zone="SE", cloud="aws/ap-south-2", environ={})
    sweden, hyderabad = Site.resolve(zone="SE", environ={}), Site.resolve(cloud="aws/ap-south-2", environ={})
    assert (site.zone, site.cloud, site.origin) == ("SE", "aws/ap-south-2", "given")
    assert (site.carbon_intensity, site.ewif, site.price) == (sweden.carbon_intensity, sweden.ewif, sweden.price)
    assert (site.pue, site.wue) == (hyderabad.pue, hyderabad.wue)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zone": "Frnace"}, "zone='Frnace': .* did you mean 'FRANCE'"),
        ({"zone": "Georgia"}, "zone='Georgia': .* did you mean 'GE' or 'US-GA'"),
        ({"zone": "US-XX"}, "zone='US-XX': .*subdivision"),
        ({"zone": ""}, "zone=''"),
        ({"zone": ["FR"]}, "zone="),
        ({"cloud": "gcp/europe-west99"}, "cloud=.* did you mean 'gcp/europe-west9'"),
        ({"cloud": "europe-west9"}, "cloud=.* did you mean 'gcp/europe-west9'"),
        ({"cloud": 5}, "cloud=5"),
        ({"pue": 0.99}, "pue=0.99: expected a number of at least 1"),
        ({"pue": True}, "pue=True"),
        ({"wue": -1}, "wue=-1"),
        ({"tariff": "cheap"}, "tariff='cheap'"),
        ({"tariff": float("inf")}, "tariff=inf"),
        ({"carbon_intensity": float("nan")}, "carbon_intensity=nan.*gCO2e/kWh"),
    ],
)
def test_a_bad_argument_is_named_and_a_near_miss_gets_a_suggestion(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Site.resolve(**arguments, environ={})


@given(st.floats(1, 5), st.floats(0, 20), st.floats(0, 5), st.floats(0, 2000))
def test_the_users_own_figures_are_taken_as_exact(pue: float, wue: float, tariff: float, intensity: float) -> None:
    site = Site.resolve(zone="FR", pue=pue, wue=wue, tariff=tariff, carbon_intensity=intensity, environ={})
    assert site.price is not None
    for factor, value in ((site.pue, pue), (site.wue, wue), (site.price, tariff), (site.carbon_intensity, intensity)):
        assert (factor.low, factor.value, factor.high, factor.source) == (value, value, value, "given")


def test_a_static_carbon_intensity_carries_how_far_the_hours_of_a_run_may_be_from_it() -> None:
    factor = Site.resolve(zone="FR", environ={}).carbon_intensity
    assert factor.value == 41.79
    assert factor.low < 41.79 / 2.15
    assert factor.high > 41.79 / 0.64


def test_a_grid_on_whose_year_sources_differ_has_a_wider_range() -> None:
    agreed, disputed = (Site.resolve(zone=zone, environ={}).carbon_intensity for zone in ("US-TX", "FR"))
    assert disputed.high / disputed.value > agreed.high / agreed.value
    assert disputed.value / disputed.low > agreed.value / agreed.low


def test_an_unknown_place_may_be_in_any_country() -> None:
    factor = Site.resolve(zone="WORLD", environ={}).carbon_intensity
    assert factor.value == pytest.approx(472, abs=0.5)
    for zone in ("FR", "US", "DE", "IN", "PL"):
        assert factor.low < Site.resolve(zone=zone, environ={}).carbon_intensity.value < factor.high


def test_what_google_tells_of_its_own_grid_is_in_the_range() -> None:
    montreal = Site.resolve(cloud="gcp/northamerica-northeast1", environ={}).carbon_intensity
    assert montreal.low < 5.48
    assert "5.48 for 2024" in montreal.note
    moved = Site.resolve(zone="IN", cloud="gcp/northamerica-northeast1", environ={}).carbon_intensity
    assert moved == Site.resolve(zone="IN", environ={}).carbon_intensity


def test_a_machine_of_ones_own_has_no_facility_but_may_stand_in_one() -> None:
    site = Site.resolve(zone="FR", environ={})
    assert (site.pue.low, site.pue.value, site.pue.high) == (1.0, 1.0, 1.54)
    assert (site.wue.low, site.wue.value, site.wue.high) == (0.0, 0.0, 0.38)


def test_a_region_that_publishes_has_its_own_pue_and_one_that_does_not_its_providers() -> None:
    published, unpublished = (
        Site.resolve(cloud=cloud, environ={}).pue for cloud in ("aws/eu-north-1", "aws/eu-west-3")
    )
    assert (published.low, published.value, published.high, published.year) == (1.1, 1.1, 1.1, "2024")
    assert (unpublished.low, unpublished.value, unpublished.high) == (1.07, 1.14, 1.46)
    assert "provider" in unpublished.note


def test_a_country_without_a_water_figure_has_the_worlds_and_says_so() -> None:
    own, worlds = (Site.resolve(zone=zone, environ={}).ewif for zone in ("FR", "NA"))
    assert (own.low, own.value, own.high) == (3.6737, 3.6737, 3.6737)
    assert worlds.value == 3.908
    assert worlds.low < own.value < worlds.high
    assert worlds.note


def test_no_price_is_invented() -> None:
    for zone in ("NA", "WORLD", "IN"):
        site = Site.resolve(zone=zone, environ={})
        assert (site.price, site.currency) == (None, "")
    known = Site.resolve(zone="FR", environ={})
    assert known.price is not None
    assert known.currency == "EUR"
    assert known.price.unit == "EUR/kWh"
    assert known.price.basis == "nonhousehold_500-1999MWh_excl_VAT"


@pytest.mark.parametrize(("zone", "currency"), [("FR", "EUR"), ("US-CA", "USD"), ("SE", ""), ("GB", ""), ("IN", "")])
def test_a_tariff_is_in_the_local_currency_which_is_not_guessed(zone: str, currency: str) -> None:
    assert Site.resolve(zone=zone, tariff=1.5, environ={}).currency == currency


def test_zones_compare_within_one_source_and_basis_only() -> None:
    france, california = Site.resolve(zone="FR", environ={}), Site.resolve(zone="US-CA", environ={})
    assert france.moved("SE").carbon_intensity == Site.resolve(zone="SE", environ={}).carbon_intensity
    for site, zone in ((france, "US-CA"), (california, "CN-BJ"), (california, "US")):
        with pytest.raises(ArgumentError, match=f"zone='{zone}': .*compares with that of {site.zone}"):
            site.moved(zone)
    assert len(france.comparable_zones()) == 212
    assert set(california.comparable_zones()) == {zone for zone in ZONES if zone.startswith("US-")}


def test_the_users_own_carbon_intensity_compares_with_no_zones() -> None:
    site = Site.resolve(zone="FR", carbon_intensity=40, environ={})
    assert site.comparable_zones() == ()
    with pytest.raises(ArgumentError, match="given"):
        site.moved("SE")


def test_a_machine_that_is_moved_keeps_its_pue_and_wue() -> None:
    site = Site.resolve(cloud="aws/eu-north-1", environ={})
    moved = site.moved("FR")
    assert (moved.zone, moved.cloud, moved.pue, moved.wue) == ("FR", None, site.pue, site.wue)


def test_a_reader_can_trace_every_factor() -> None:
    for factor in Site.resolve(cloud="azure/swedencentral", environ={}).to_dict()["factors"].values():
        assert factor is None or factor["source"]


def test_the_public_names_are_sorted_and_there() -> None:
    assert sorted(trainwatt.site.__all__) == trainwatt.site.__all__
    assert all(hasattr(trainwatt.site, name) for name in trainwatt.site.__all__)
