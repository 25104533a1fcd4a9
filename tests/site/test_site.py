from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainwatt.errors import ArgumentError
from trainwatt.site import Site, tables
from trainwatt.site.place import find_place


@pytest.mark.parametrize("zone", sorted(tables.grids()))
def test_every_zone_has_a_carbon_intensity_with_source_and_year(zone: str) -> None:
    site = Site.resolve(zone=zone, environ={})
    factor = site.carbon_intensity
    assert 0 <= factor.low <= factor.value <= factor.high
    assert factor.value > 0 or zone == "WORLD"
    assert factor.source
    assert int(factor.year) >= 2000
    assert factor.basis.startswith(("lifecycle", "direct"))
    assert site.ewif.value > 0


@pytest.mark.parametrize("region", sorted(tables.regions()))
def test_every_cloud_region_lies_in_a_known_zone(region: str) -> None:
    site = Site.resolve(cloud=region, environ={})
    assert site.pue.value >= 1
    assert site.wue.value >= 0
    assert site.cloud == region


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
    ],
)
def test_a_place_may_be_written_in_several_ways(given: str, zone: str) -> None:
    assert Site.resolve(zone=given, environ={}).zone == zone


def test_a_cloud_region_in_the_united_states_is_placed_in_its_state() -> None:
    assert Site.resolve(cloud="aws/us-east-1", environ={}).zone == "US-VA"
    assert Site.resolve(cloud="AWS/us-west-2", environ={}).zone == "US-OR"


def test_a_zone_decides_over_the_clouds_own() -> None:
    site = Site.resolve(zone="SE", cloud="gcp/europe-west9", environ={})
    assert (site.zone, site.cloud) == ("SE", "gcp/europe-west9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zone": "Frnace"}, "zone='Frnace': .* did you mean 'FRANCE'"),
        ({"zone": "US-XX"}, "zone='US-XX': .*subdivision"),
        ({"zone": ["FR"]}, "zone="),
        ({"cloud": "gcp/europe-west99"}, "cloud=.* did you mean 'gcp/europe-west9'"),
        ({"cloud": 5}, "cloud=5"),
        ({"pue": 0.99}, "pue=0.99: expected a number of at least 1"),
        ({"wue": -1}, "wue=-1"),
        ({"tariff": "cheap"}, "tariff='cheap'"),
        ({"carbon_intensity": float("nan")}, "carbon_intensity=nan"),
    ],
)
def test_a_near_miss_gets_a_suggestion(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Site.resolve(**arguments, environ={})


def test_the_users_own_figures_are_taken_as_exact() -> None:
    site = Site.resolve(zone="FR", pue=1.2, wue=0.5, tariff=0.3, carbon_intensity=20, environ={})
    for factor, value in ((site.pue, 1.2), (site.wue, 0.5), (site.price, 0.3), (site.carbon_intensity, 20)):
        assert factor is not None
        assert (factor.low, factor.value, factor.high, factor.source) == (value, value, value, "given")


def test_a_machine_of_ones_own_has_no_facility() -> None:
    site = Site.resolve(zone="FR", environ={})
    assert (site.pue.value, site.wue.value) == (1.0, 0.0)


def test_no_price_is_invented() -> None:
    assert Site.resolve(zone="NA", environ={}).price is None
    known = Site.resolve(zone="FR", environ={})
    assert known.price is not None
    assert known.currency == "EUR"


@pytest.mark.parametrize(
    ("environ", "zone", "origin"),
    [
        ({"AWS_REGION": "eu-west-3"}, "FR", "from the environment variable AWS_REGION"),
        ({"AWS_REGION": "mars-1", "TZ": "Europe/Paris"}, "FR", "guessed from the time zone Europe/Paris"),
        ({"TZ": ":America/Nowhere"}, "WORLD", "unknown: the world's average"),
        ({}, "SE", "guessed from the time zone Europe/Stockholm"),
    ],
)
def test_an_unknown_place_is_detected_offline_and_said_so(
    tmp_path: Path, environ: dict[str, str], zone: str, origin: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Stockholm")
    names = tmp_path / "usr" / "share" / "zoneinfo"
    names.mkdir(parents=True)
    (names / "zone.tab").write_text("# a comment\nFR\t+4852+00220\tEurope/Paris\nSE\t+5920+01803\tEurope/Stockholm\n")
    place = find_place(None, None, environ, tmp_path)
    assert (place.zone, place.origin) == (zone, origin)


def test_a_machine_without_a_time_zone_gets_the_worlds_average(tmp_path: Path) -> None:
    assert find_place(None, None, {}, tmp_path).zone == "WORLD"


def test_a_reader_can_trace_every_factor() -> None:
    for factor in Site.resolve(cloud="azure/swedencentral", environ={}).to_dict()["factors"].values():
        assert factor is None or factor["source"]
