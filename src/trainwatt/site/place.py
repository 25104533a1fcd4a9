"""Detection of the place of a run from settings and the environment; never uses the network."""

from __future__ import annotations

import difflib
import re
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

# Codes of the European Union beside those of ISO 3166-1.
_ALIASES = {"UK": "GB", "EL": "GR"}
# A subdivision in ISO 3166-2, such as ``CA-QC`` or ``FR-75C``, or a grid area as Electricity Maps writes it, such as
# ``IT-SIC`` or ``US-CAL-CISO``.
_AREA = re.compile(r"([A-Z]{2})-([A-Z0-9]{1,4}(?:-[A-Z0-9]{1,5}){0,2})")
# All their states and provinces have figures, so another one is a mistake.
_COMPLETE = frozenset({"CA", "US"})
# Subdivisions with a code of their own in ISO 3166-1.
_OWN_CODES = {f"US-{code}": code for code in ("AS", "GU", "MP", "PR", "VI")}
_OWN_CODES |= {f"FR-{code}": code for code in ("BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "WF", "YT")}
_OWN_CODES |= {"FR-971": "GP", "FR-972": "MQ", "FR-973": "GF", "FR-974": "RE", "FR-976": "YT", "FR-987": "PF"}
_OWN_CODES |= {f"NL-{code}": code for code in ("AW", "CW", "SX")} | {f"CN-{code}": code for code in ("HK", "MO", "TW")}


class Place(NamedTuple):
    """A grid zone, optionally with a cloud region.

    Attributes:
        zone: key of :func:`tables.grids`, or an area without figures of its own in one of them, such as ``DE-BY``.
        cloud: ``provider/region``, or None.
        origin: how the place was determined.
    """

    zone: str
    cloud: str | None
    origin: str


def find_place(zone: str | None, cloud: str | None, environ: Mapping[str, str], root: Path = Path("/")) -> Place:
    """Return the place of a run: as given, else from cloud environment variables, else guessed from the time zone.

    Args:
        zone: a country or subdivision. If a region is given as well, it must lie there.
        cloud: a cloud region, ``provider/region``.
        environ: the environment variables.
        root: folder that contains ``etc`` and ``usr``.

    Raises:
        ArgumentError: if the zone or region is unknown; the message suggests similar known ones. Also if the region
            lies elsewhere.
    """
    region = None if cloud is None else _region(cloud)
    if zone is not None:
        known = _zone(zone)
        if region is not None and not _contain_each_other(known, tables.region_zone(region)):
            there = tables.region_zone(region)
            raise ArgumentError("zone", zone, f"{there!r}, where the cloud region {region} is, or only one of the two")
        return Place(known, region, "given")
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
    name = _unaliased(tables.folded(zone)) if isinstance(zone, str) else ""
    zones = called.get(name, [])
    if len(zones) == 1:
        return zones[0]
    if _is_area(name):
        return name
    expected = "a country (ISO 3166-1, such as 'FR' or 'FRA') or a subdivision (ISO 3166-2, such as 'US-CA')"
    raise ArgumentError("zone", zone, expected + _did_you_mean(zones or _subdivisions(name) or _nearest(name, called)))


def _unaliased(name: str) -> str:
    """Return a code as the tables have it: ``GB`` for ``UK``, ``GP`` for ``FR-971``."""
    country, dash, area = name.partition("-")
    code = _ALIASES.get(country, country) + dash + area
    own = _OWN_CODES.get(code)
    return own if own in tables.grids() else code


def _is_area(name: str) -> bool:
    """Return True for the code of an area, without figures of its own, in a known country."""
    found = _AREA.fullmatch(name)
    if found is None or found[1] not in tables.grids():
        return False
    return not (found[1] in _COMPLETE and len(found[2]) == len("QC"))


def _subdivisions(name: str) -> list[str]:
    """Return the subdivisions that a name without its country may mean, such as ``CA-QC`` for ``QC``."""
    return [zone for zone in tables.grids() if name and zone.endswith(f"-{name}")][:3]


def _contain_each_other(one: str, other: str) -> bool:
    """Return True if two zones are the same, or one is a country and the other lies in it."""
    same_country = tables.country_of(one) == tables.country_of(other)
    return one == other or (same_country and tables.country_of(one) in (one, other))


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
