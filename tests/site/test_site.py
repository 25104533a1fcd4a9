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


@pytest.mark.parametrize(
    ("zone", "cloud"),
    [("SE", "aws/eu-north-1"), ("US", "aws/us-east-1"), ("US-VA", "aws/us-east-1"), ("CA-QC", "azure/canadaeast")],
)
def test_beside_a_cloud_region_its_zone_has_the_grid_and_the_region_the_facility(zone: str, cloud: str) -> None:
    site = Site.resolve(zone=zone, cloud=cloud, environ={})
    grid, region = Site.resolve(zone=zone, environ={}), Site.resolve(cloud=cloud, environ={})
    assert (site.zone, site.cloud, site.origin) == (zone, cloud, "given")
    assert site.carbon_intensity.value == grid.carbon_intensity.value
    assert (site.ewif, site.price) == (grid.ewif, grid.price)
    assert (site.pue, site.wue) == (region.pue, region.wue)


@pytest.mark.parametrize(
    ("zone", "cloud", "there"),
    [
        ("FR", "aws/us-east-1", "US-VA"),
        ("US-CA", "aws/us-east-1", "US-VA"),
        ("IN", "gcp/northamerica-northeast1", "CA-QC"),
        ("WORLD", "gcp/europe-west9", "FR"),
    ],
)
def test_a_zone_beside_a_cloud_region_elsewhere_is_refused(zone: str, cloud: str, there: str) -> None:
    with pytest.raises(ArgumentError, match=f"zone='{zone}': expected '{there}', where the cloud region {cloud} is"):
        Site.resolve(zone=zone, cloud=cloud, environ={})
    environ = {"TRAINWATT_ZONE": zone, "TRAINWATT_CLOUD": cloud}
    with pytest.raises(ArgumentError, match=f"TRAINWATT_ZONE='{zone}': expected '{there}'"):
        Site.resolve(environ=environ)
    assert Site.resolve(cloud=cloud, environ={"TRAINWATT_ZONE": zone}).zone == there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zone": "Frnace"}, "zone='Frnace': .* did you mean 'FRANCE'"),
        ({"zone": "Georgia"}, "zone='Georgia': .* did you mean 'GE' or 'US-GA'"),
        ({"zone": "US-XX"}, "zone='US-XX': .*subdivision"),
        ({"zone": ""}, "zone=''"),
        ({"zone": ["FR"]}, "zone="),
        ({"zone": "QC"}, "zone='QC': .* did you mean 'CA-QC'"),
        ({"zone": "ca_qc"}, "zone='ca_qc': .* did you mean 'CA-QC'"),
        ({"zone": "CA-XX"}, "zone='CA-XX'"),
        ({"zone": "XX-QC"}, "zone='XX-QC'"),
        ({"zone": "en-US"}, "zone='en-US'"),
        ({"zone": "WORLD-1"}, "zone='WORLD-1'"),
        ({"cloud": "gcp/europe-west99"}, "cloud=.* did you mean 'gcp/europe-west9'"),
        ({"cloud": "europe-west9"}, "cloud=.* did you mean 'gcp/europe-west9'"),
        ({"cloud": 5}, "cloud=5"),
        ({"pue": 0.99}, "pue=0.99: expected a number of at least 1"),
        ({"pue": True}, "pue=True"),
        ({"wue": -1}, "wue=-1"),
        ({"tariff": "cheap"}, "tariff='cheap'"),
        ({"tariff": float("inf")}, "tariff=inf"),
        ({"carbon_intensity": 0.4}, "carbon_intensity=0.4: expected .*0.4 kgCO2e/kWh would be 400 gCO2e/kWh"),
        ({"carbon_intensity": 0.999}, "carbon_intensity=0.999"),
        ({"carbon_intensity": 400_000}, "carbon_intensity=400000: expected a number of at most 2000 gCO2e/kWh"),
        ({"market_intensity": 0.03}, "market_intensity=0.03: expected .*0.03 kgCO2e/kWh would be 30 gCO2e/kWh"),
        ({"pue": 12}, "pue=12: expected a number of at most 5: .*seldom above 3"),
        ({"wue": 1800}, "wue=1800: expected a number of at most 20 L/kWh"),
        ({"tariff": 80, "zone": "FR"}, "tariff=80: expected a number of at most 5 EUR/kWh: .*MWh"),
        ({"carbon_intensity": float("nan")}, "carbon_intensity=nan.*gCO2e/kWh"),
    ],
)
def test_a_bad_argument_is_named_and_a_near_miss_gets_a_suggestion(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Site.resolve(**arguments, environ={})


@given(st.floats(1, 5), st.floats(0, 20), st.floats(0, 5), st.just(0.0) | st.floats(1, 2000))
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
    paris = Site.resolve(cloud="gcp/europe-west9", environ={}).carbon_intensity
    assert paris.value == Site.resolve(zone="FR", environ={}).carbon_intensity.value
    assert paris.low < 16.3
    assert "16.3 for 2024" in paris.note


@pytest.mark.parametrize(
    ("region", "value", "mean"),
    [
        ("gcp/northamerica-northeast1", 5.48, 185.35),
        ("gcp/northamerica-northeast2", 58.56, 185.35),
        ("gcp/asia-northeast2", 296.19, 483.43),
        ("gcp/australia-southeast2", 454.37, 0),
    ],
)
def test_where_grids_differ_within_a_country_a_region_has_its_providers_figure(
    region: str, value: float, mean: float
) -> None:
    factor = Site.resolve(cloud=region, environ={}).carbon_intensity
    assert (factor.value, factor.source, factor.year) == (value, "Google region-carbon-info", "2024")
    assert factor.basis == "direct (operational), consumption, yearly mean"
    assert f"{value:g} for 2024" in factor.note
    assert factor.low < value < factor.high
    assert mean == 0 or value < mean


@pytest.mark.parametrize(
    ("zone", "value"), [("CA-QC", 31.23), ("Québec", 31.23), ("CA-AB", 636.56), ("NO-NO1", 26.0), ("se-se3", 27.0)]
)
def test_a_province_or_price_area_with_a_figure_has_its_own(zone: str, value: float) -> None:
    site = Site.resolve(zone=zone, environ={})
    assert site.carbon_intensity.value == value
    assert site.carbon_intensity.basis == "lifecycle, production, yearly mean"
    assert "CodeCarbon 3.3.2" in site.carbon_intensity.source
    assert site.comparable_zones()


def test_the_range_of_quebec_holds_direct_and_lifecycle_figures_whoever_runs_the_cloud() -> None:
    for place in ({"zone": "CA-QC"}, {"cloud": "aws/ca-central-1"}, {"cloud": "gcp/northamerica-northeast1"}):
        site = Site.resolve(**place, environ={})
        assert site.zone == "CA-QC"
        assert site.carbon_intensity.low < 5.48
        assert site.carbon_intensity.high > 31.23


@pytest.mark.parametrize(
    ("zone", "named", "country"),
    [
        ("DE-BY", "DE-BY (mean of Germany)", "DE"),
        ("au-tas", "AU-TAS (mean of Australia)", "AU"),
        ("DK-DK1", "DK-DK1 (mean of Denmark)", "DK"),
        ("IT-SIC", "IT-SIC (mean of Italy)", "IT"),
        ("FR-COR", "FR-COR (mean of France)", "FR"),
        ("UK-NIR", "GB-NIR (mean of United Kingdom)", "GB"),
        ("US-CAL-CISO", "US-CAL-CISO (mean of United States)", "US"),
    ],
)
def test_an_area_without_a_figure_has_the_mean_of_its_country_and_says_so_once(
    zone: str, named: str, country: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = Site.resolve(zone=country, environ={})
    site = Site.resolve(zone=zone, environ={})
    (warning,) = caplog.messages
    assert "carbon_intensity=" in warning
    assert named.partition(" ")[0] in warning
    assert (site.name, site.zone) == (named, named.partition(" ")[0])
    factor = site.carbon_intensity
    assert factor.value == whole.carbon_intensity.value
    assert f"mean of {whole.name}" in factor.basis
    assert factor.low < 5
    assert factor.high > 1000
    assert site.price == whole.price or site.price is not None
    assert site.ewif.value == whole.ewif.value
    assert site.comparable_zones() == ()
    assert Site.from_dict(site.to_dict()).text() == site.text()


def test_who_gives_an_areas_intensity_is_not_warned(caplog: pytest.LogCaptureFixture) -> None:
    assert Site.resolve(zone="IT-SIC", carbon_intensity=420, environ={}).zone == "IT-SIC"
    denmark = Site.resolve(zone="DK-DK2", carbon_intensity="dk", environ={})
    assert denmark.live is not None
    assert denmark.live.provider.key == "dk2"
    assert not caplog.messages
    with pytest.raises(ArgumentError, match="a live source of DK-DK1"):
        Site.resolve(zone="DK-DK1", carbon_intensity="dk2", environ={})


@pytest.mark.parametrize(
    ("given", "zone"),
    [("UK", "GB"), ("el", "GR"), ("FR-974", "RE"), ("US-PR", "PR"), ("CN-TW", "TW"), ("Cote d'Ivoire", "CI")],
)
def test_other_codes_and_spellings_of_a_country_are_known(given: str, zone: str) -> None:
    assert Site.resolve(zone=given, environ={}).zone == zone


def test_a_region_whose_area_is_unknown_may_be_in_any_of_its_country() -> None:
    factor = Site.resolve(cloud="aws/us-gov-east-1", environ={}).carbon_intensity
    for state in ("US-VT", "US-OH", "US-WV"):
        assert factor.low < Site.resolve(zone=state, environ={}).carbon_intensity.value < factor.high
    assert "mean of United States" in factor.note


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


def test_a_region_with_its_providers_figure_compares_by_the_table() -> None:
    region, province = (
        Site.resolve(**place, environ={}) for place in ({"cloud": "gcp/northamerica-northeast1"}, {"zone": "CA-QC"})
    )
    assert region.comparable_zones() == province.comparable_zones()
    assert region.static().carbon_intensity == province.carbon_intensity
    assert region.moved("CA-AB").carbon_intensity == province.moved("CA-AB").carbon_intensity


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
