"""Who says where a run happens: an argument, then the environment, then a file, then a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.errors import ArgumentError
from trainwatt.live import Denmark, ElectricityMaps, GreatBritain
from trainwatt.site import Site
from trainwatt.tracking.settings import Settings


def file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def site(tmp_path: Path, environ: dict[str, str] | None = None, **arguments: Any) -> Site:
    return Site(**arguments, environ={"HOME": str(tmp_path / "home"), **(environ or {})}, root=tmp_path)


def test_an_argument_goes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    file(tmp_path / "etc" / "trainwatt.toml", 'zone = "FR"\npue = 1.3\nwue = 0.4\ntariff = 0.1')
    known = site(tmp_path, {"TRAINWATT_PUE": "1.2", "TRAINWATT_WUE": "0.3"}, pue=1.1)
    assert (known.zone, known.pue.value, known.wue.value) == ("FR", 1.1, 0.3)
    assert known.price is not None
    assert known.price.value == 0.1


def test_the_users_own_file_goes_before_the_machines_and_one_that_is_named_before_both(tmp_path: Path) -> None:
    file(tmp_path / "etc" / "trainwatt.toml", 'zone = "FR"')
    assert site(tmp_path).zone == "FR"
    file(tmp_path / "home" / ".config" / "trainwatt.toml", 'zone = "SE"')
    assert site(tmp_path).zone == "SE"
    named = file(tmp_path / "cluster.toml", 'cloud = "gcp/europe-west9"')
    assert site(tmp_path, {"TRAINWATT_CONFIG": str(named)}).cloud == "gcp/europe-west9"


def test_a_reader_can_trace_who_said_it(tmp_path: Path) -> None:
    path = file(tmp_path / "etc" / "trainwatt.toml", 'zone = "FR"\npue = 1.3')
    known = site(tmp_path, {"TRAINWATT_CARBON_INTENSITY": "30"})
    assert known.origin == f"given in {path}"
    assert known.pue.source == f"given in {path}"
    assert known.carbon_intensity.source == "given by TRAINWATT_CARBON_INTENSITY"
    assert site(tmp_path, zone="FR").origin == "given"


def test_the_figures_of_another_place_are_left_out(tmp_path: Path) -> None:
    file(tmp_path / "etc" / "trainwatt.toml", 'zone = "FRA"\ncarbon_intensity = 30\npue = 1.3')
    assert site(tmp_path, zone="FR").carbon_intensity.value == 30
    assert site(tmp_path, cloud="aws/eu-west-3").pue.value == 1.3
    in_poland = site(tmp_path, zone="PL")
    assert in_poland.carbon_intensity.value > 500
    assert in_poland.pue.value == 1.0


def test_one_region_in_a_zone_does_not_speak_for_another() -> None:
    elsewhere = {"TRAINWATT_CLOUD": "aws/eu-west-3", "TRAINWATT_PUE": "1.9"}
    assert Site(cloud="gcp/europe-west9", environ=elsewhere).pue.value < 1.9


def test_what_is_said_goes_before_what_is_detected(tmp_path: Path) -> None:
    assert site(tmp_path, {"AWS_REGION": "eu-north-1", "TRAINWATT_ZONE": "FR"}).zone == "FR"
    assert site(tmp_path, {"AWS_REGION": "eu-north-1", "TRAINWATT_PUE": "1.05"}).zone == "SE"
    assert site(tmp_path, {"TRAINWATT_ZONE": "  "}).zone == "WORLD"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pue = 0.5", r"trainwatt.toml: pue=0.5: expected a number of at least 1"),
        ("pue = 12", r"trainwatt.toml: pue=12: expected a number of at most 5"),
        ("carbon_intensity = 0.4", r"trainwatt.toml: carbon_intensity=0.4: .*400 gCO2e/kWh"),
        ('zone = "FR"\ncloud = "aws/us-east-1"', r"trainwatt.toml: zone='FR': expected 'US-VA', where the cloud"),
        ('pue = "low"', r"trainwatt.toml: pue='low': expected a number"),
        ("pue = true", r"trainwatt.toml: pue=True: expected a number"),
        ("zone = 33", r"trainwatt.toml: zone=33: expected a string in quotes"),
        ('zone = "Frnace"', r"trainwatt.toml: zone='Frnace': .* did you mean 'FRANCE'"),
        ('cloud = "gcp/europe-west99"', r"trainwatt.toml: cloud=.* did you mean 'gcp/europe-west9'"),
        ("carbon_intensity = []", r"trainwatt.toml: carbon_intensity=\[\]: expected a number of gCO2e/kWh, or"),
        ('carbon_intensity = "mars"', r"trainwatt.toml: carbon_intensity='mars': .*'electricitymaps', 'gb'"),
        ('country = "FR"', r"trainwatt.toml: country='FR': expected one of the keys .*zone"),
        ("\nzone == 1", r"trainwatt.toml='.*etc/trainwatt.toml': expected a valid TOML file; .*line 2"),
    ],
)
def test_an_error_in_the_file_names_file_key_and_what_would_be_right(tmp_path: Path, text: str, message: str) -> None:
    file(tmp_path / "etc" / "trainwatt.toml", text)
    with pytest.raises(ArgumentError, match=message):
        site(tmp_path)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"TRAINWATT_PUE": "low"}, "TRAINWATT_PUE='low': expected a number"),
        ({"TRAINWATT_PUE": "0.5"}, "TRAINWATT_PUE=0.5: expected a number of at least 1"),
        ({"TRAINWATT_ZONE": "Frnace"}, "TRAINWATT_ZONE='Frnace': .* did you mean 'FRANCE'"),
        ({"TRAINWATT_MARKET_INTENSITY": "-1"}, "TRAINWATT_MARKET_INTENSITY=-1.0: expected a number of at least 0"),
        ({"TRAINWATT_CONFIG": "/no/such/file"}, "TRAINWATT_CONFIG='/no/such/file': expected a readable TOML file"),
        ({"TRAINWATT_CARBON_INTENSITY": "electricitymaps"}, "TRAINWATT_CARBON_INTENSITY=.*ELECTRICITYMAPS_TOKEN"),
    ],
)
def test_an_error_in_the_environment_names_the_variable(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        site(tmp_path, environ)


def test_a_live_source_may_be_named_anywhere(tmp_path: Path) -> None:
    for name, kind in (("gb", GreatBritain), ("dk", Denmark), ("DK2", Denmark)):
        live = site(tmp_path, {"TRAINWATT_CARBON_INTENSITY": name}).live
        assert live is not None
        assert isinstance(live.provider, kind)
    token = {"TRAINWATT_ELECTRICITYMAPS_TOKEN": "secret"}
    live = site(tmp_path, token, zone="FR", carbon_intensity="electricitymaps").live
    assert live is not None
    assert isinstance(live.provider, ElectricityMaps)
    assert live.provider.token == "secret"
    assert "secret" not in repr(live)


def test_a_live_source_of_one_country_says_where_it_is_and_is_refused_elsewhere(tmp_path: Path) -> None:
    assert site(tmp_path, {"AWS_REGION": "eu-west-3"}, carbon_intensity=GreatBritain()).zone == "GB"
    assert site(tmp_path, cloud="aws/eu-west-2", carbon_intensity="gb").zone == "GB"
    with pytest.raises(ArgumentError, match="carbon_intensity='gb': expected a live source of FR"):
        site(tmp_path, zone="FR", carbon_intensity="gb")


def test_electricity_maps_wants_its_own_name_of_a_grid_that_it_calls_otherwise(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"ElectricityMaps.*zone=.* US-CA"):
        site(tmp_path, zone="US-CA", carbon_intensity=ElectricityMaps("token"))
    live = site(tmp_path, zone="US-CA", carbon_intensity=ElectricityMaps("token", zone="US-CAL-CISO")).live
    assert live is not None
    assert live.provider.key == "electricitymaps-US-CAL-CISO"


def test_a_live_source_compares_with_other_places_by_the_yearly_mean(tmp_path: Path) -> None:
    static, live = site(tmp_path, zone="GB"), site(tmp_path, carbon_intensity="gb")
    assert live.moved("FR").carbon_intensity == static.moved("FR").carbon_intensity
    assert live.comparable_zones() == static.comparable_zones()


@given(st.sampled_from(["zone", "cloud", "pue", "wue", "tariff", "carbon_intensity"]))
def test_a_site_and_its_parts_are_not_given_together(name: str) -> None:
    value = {"zone": "FR", "cloud": "gcp/europe-west9"}.get(name, 2.0)
    with pytest.raises(ArgumentError, match=f"{name}=.*nothing beside site="):
        Settings.check(site=Site(zone="FR"), **{name: value})  # type: ignore[arg-type]


def test_one_site_serves_in_place_of_its_parts() -> None:
    france = Site(zone="FR", pue=1.2, market_intensity=5)
    assert Settings.check(site=france).site is france
    with pytest.raises(ArgumentError, match=r"site=.FR.: expected a trainwatt\.Site"):
        Settings.check(site="FR")  # type: ignore[arg-type]
