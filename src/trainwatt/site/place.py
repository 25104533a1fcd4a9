"""Detection of the place of a run from settings and the environment; never uses the network."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from trainwatt.errors import ArgumentError
from trainwatt.site import tables

_CLOUD_VARIABLES = {
    "AWS_REGION": "aws",
    "AWS_DEFAULT_REGION": "aws",
    "GOOGLE_CLOUD_REGION": "gcp",
    "CLOUDSDK_COMPUTE_REGION": "gcp",
    "AZURE_REGION": "azure",
    "REGION_NAME": "azure",
}


class Place(NamedTuple):
    """A grid zone, optionally with a cloud region.

    Attributes:
        zone: key of :func:`tables.grids`.
        cloud: ``provider/region``, or None.
        origin: how the place was determined.
    """

    zone: str
    cloud: str | None
    origin: str


def find_place(zone: str | None, cloud: str | None, environ: Mapping[str, str], root: Path = Path("/")) -> Place:
    """Return the place of a run: as given, else from cloud environment variables, else guessed from the time zone.

    Args:
        zone: a country or subdivision; takes precedence over the region's own zone if both are given.
        cloud: a cloud region, ``provider/region``.
        environ: the environment variables.
        root: folder that contains ``etc`` and ``usr``.

    Raises:
        ArgumentError: if the zone or region is unknown; the message suggests similar known ones.
    """
    region = None if cloud is None else _region(cloud)
    if zone is not None:
        return Place(_zone(zone), region, "given")
    if region is not None:
        return Place(tables.region_zone(region), region, "given")
    return _from_cloud(environ) or _from_time_zone(environ, root) or Place(tables.WORLD, None, "unknown: world average")


def _from_cloud(environ: Mapping[str, str]) -> Place | None:
    for variable, provider in _CLOUD_VARIABLES.items():
        # Azure also uses display names such as "France Central".
        value = environ.get(variable, "").replace(" ", "").lower()
        if value and (region := f"{provider}/{value}") in tables.regions():
            return Place(tables.region_zone(region), region, f"cloud environment: {variable}")
    return None


def _from_time_zone(environ: Mapping[str, str], root: Path) -> Place | None:
    try:
        for name in _time_zones(environ, root):
            if (country := _country_of(name, root)) in tables.grids():
                return Place(country, None, f"guessed from the time zone {name}")
    # An unreadable hint is ignored.
    except (OSError, ValueError):
        pass
    return None


def _zone(zone: str) -> str:
    called = tables.zones_called()
    zones = called.get(zone.strip().upper(), []) if isinstance(zone, str) else []
    if len(zones) == 1:
        return zones[0]
    expected = (
        "a country (ISO 3166-1, such as 'FR' or 'FRA') or a subdivision of the United States or China (ISO 3166-2, "
        "such as 'US-CA')"
    )
    raise ArgumentError("zone", zone, expected + _did_you_mean(zones or _nearest(zone, called)))


def _region(cloud: str) -> str:
    if isinstance(cloud, str) and (region := cloud.strip().lower()) in tables.regions():
        return region
    expected = "a cloud region, such as 'gcp/europe-west9', 'aws/eu-west-3' or 'azure/francecentral'"
    raise ArgumentError("cloud", cloud, expected + _did_you_mean(_nearest(cloud, tables.regions())))


def _nearest(given: object, known: Iterable[str]) -> list[str]:
    folded = {name.upper(): name for name in known}
    return [folded[name] for name in difflib.get_close_matches(str(given).upper(), folded, n=3, cutoff=0.7)]


def _did_you_mean(names: list[str]) -> str:
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else ""


def _time_zones(environ: Mapping[str, str], root: Path) -> Iterator[str]:
    """Yield the names of the machine's time zone, e.g. ``Europe/Paris``, most reliable first."""
    yield environ.get("TZ", "").lstrip(":")
    link = root / "etc" / "localtime"
    if link.is_symlink():
        yield link.readlink().as_posix().partition("zoneinfo/")[2]
    if (file := root / "etc" / "timezone").is_file():
        yield file.read_text(encoding="utf-8").strip()


def _country_of(time_zone: str, root: Path) -> str:
    """Return the country of a time zone from the system's table; older names are links. Empty if not listed."""
    zones = root / "usr" / "share" / "zoneinfo"
    table = zones / "zone.tab"
    if not time_zone or not table.is_file():
        return ""
    countries = dict(_zone_tab(table.read_text(encoding="utf-8")))
    linked = (zones / time_zone).resolve().as_posix().partition("zoneinfo/")[2]
    return countries.get(time_zone) or countries.get(linked, "")


def _zone_tab(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        cells = line.split("\t")
        if not line.startswith("#") and len(cells) > 2:
            yield cells[2], cells[0]
