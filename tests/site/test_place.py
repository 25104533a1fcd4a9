from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from trainwatt.site.place import find_place

ZONE_TAB = (
    "# a comment\nFR\t+4852+00220\tEurope/Paris\nSE\t+5920+01803\tEurope/Stockholm\nIN\t+2232+08822\tAsia/Kolkata\n"
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine in Sweden whose system knows three time zones."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Stockholm")
    names = tmp_path / "usr" / "share" / "zoneinfo"
    (names / "Asia").mkdir(parents=True)
    (names / "Asia" / "Calcutta").symlink_to("Kolkata")
    (names / "zone.tab").write_text(ZONE_TAB)
    return tmp_path


@pytest.mark.parametrize(
    ("environ", "zone", "cloud"),
    [
        ({"AWS_REGION": "eu-west-3"}, "FR", "aws/eu-west-3"),
        ({"AWS_DEFAULT_REGION": "us-west-2"}, "US-OR", "aws/us-west-2"),
        ({"GOOGLE_CLOUD_REGION": "europe-west9"}, "FR", "gcp/europe-west9"),
        ({"CLOUDSDK_COMPUTE_REGION": "europe-north1"}, "FI", "gcp/europe-north1"),
        ({"AZURE_REGION": "swedencentral"}, "SE", "azure/swedencentral"),
        ({"REGION_NAME": "France Central"}, "FR", "azure/francecentral"),
    ],
)
def test_a_clouds_environment_tells_the_region(machine: Path, environ: dict[str, str], zone: str, cloud: str) -> None:
    place = find_place(None, None, environ, machine)
    assert (place.zone, place.cloud) == (zone, cloud)
    assert place.origin == f"cloud environment: {next(iter(environ))}"


@pytest.mark.parametrize(
    ("environ", "zone", "origin"),
    [
        ({}, "SE", "guessed from the time zone Europe/Stockholm"),
        ({"TZ": "Europe/Paris"}, "FR", "guessed from the time zone Europe/Paris"),
        ({"TZ": ":Europe/Paris"}, "FR", "guessed from the time zone Europe/Paris"),
        ({"TZ": "Asia/Calcutta"}, "IN", "guessed from the time zone Asia/Calcutta"),
        ({"TZ": "UTC"}, "SE", "guessed from the time zone Europe/Stockholm"),
        ({"TZ": "no\0name"}, "WORLD", "unknown: world average"),
        ({"AWS_REGION": "mars-1", "TZ": "Europe/Paris"}, "FR", "guessed from the time zone Europe/Paris"),
    ],
)
def test_the_time_zone_is_a_guess_that_is_named_as_one(
    machine: Path, environ: Mapping[str, str], zone: str, origin: str
) -> None:
    place = find_place(None, None, environ, machine)
    assert (place.zone, place.cloud, place.origin) == (zone, None, origin)


def test_what_the_user_says_decides_over_the_environment(machine: Path) -> None:
    environ = {"AWS_REGION": "eu-west-3", "TZ": "Europe/Paris"}
    assert find_place("DE", None, environ, machine).zone == "DE"
    assert find_place("DE", None, environ, machine).cloud is None
    assert find_place(None, "gcp/europe-north1", environ, machine).zone == "FI"


def test_a_file_may_name_the_time_zone(machine: Path) -> None:
    (machine / "etc" / "localtime").unlink()
    (machine / "etc" / "timezone").write_text("Europe/Paris\n")
    assert find_place(None, None, {}, machine).zone == "FR"


def test_a_machine_in_utc_or_without_a_time_zone_gets_the_worlds_average(machine: Path, tmp_path: Path) -> None:
    (machine / "etc" / "localtime").unlink()
    (machine / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    for root in (machine, tmp_path / "bare"):
        place = find_place(None, None, {}, root)
        assert (place.zone, place.origin) == ("WORLD", "unknown: world average")


def test_a_system_without_a_table_of_time_zones_gives_no_hint(machine: Path) -> None:
    (machine / "usr" / "share" / "zoneinfo" / "zone.tab").unlink()
    assert find_place(None, None, {"TZ": "Europe/Paris"}, machine).zone == "WORLD"


def test_a_file_that_is_no_text_gives_no_hint(machine: Path) -> None:
    (machine / "etc" / "localtime").unlink()
    (machine / "etc" / "timezone").write_bytes(b"\xff\xfe")
    assert find_place(None, None, {}, machine).zone == "WORLD"
