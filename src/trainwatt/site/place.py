"""Finding out where a run happens, from what the user says and what the environment tells; never from the network."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Place:
    """A grid zone, perhaps in a cloud region.

    Attributes:
        zone: key of :func:`tables.grids`.
        cloud: ``provider/region``, or None.
        origin: how it is known.
    """

    zone: str
    cloud: str | None
    origin: str


def find_place(zone: str | None, cloud: str | None, environ: Mapping[str, str], root: Path = Path("/")) -> Place:
    """Where the run happens: as the user says; else as the cloud's environment tells; else as the time zone hints.

    Args:
        zone: a country or subdivision; decides over the region's own where both are given.
        cloud: a cloud region, ``provider/region``.
        environ: the environment's variables.
        root: where ``etc/localtime`` is looked for.

    Raises:
        ArgumentError: an unknown zone or region; names the nearest known ones.
    """
    region = None if cloud is None else _region(cloud)
    if zone is not None:
        return Place(_zone(zone), region, "given")
    if region is not None:
        return Place(tables.region_zone(region), region, "given")
    for variable, provider in _CLOUD_VARIABLES.items():
        if (region := f"{provider}/{environ.get(variable, '').lower()}") in tables.regions():
            return Place(tables.region_zone(region), region, f"from the environment variable {variable}")
    name = _time_zone(environ, root)
    if name and (country := _country_of(name, root)) in tables.grids():
        return Place(country, None, f"guessed from the time zone {name}")
    return Place(tables.WORLD, None, "unknown: the world's average")


def _zone(zone: str) -> str:
    names = tables.zone_names()
    if isinstance(zone, str) and (known := names.get(zone.strip().upper())):
        return known
    expected = "a country (ISO 3166-1, such as 'FR' or 'FRA') or a subdivision (ISO 3166-2, such as 'US-CA')"
    raise ArgumentError("zone", zone, expected + _nearest(zone, names))


def _region(cloud: str) -> str:
    if isinstance(cloud, str) and (region := cloud.strip().lower()) in tables.regions():
        return region
    expected = "a cloud region, such as 'gcp/europe-west9', 'aws/eu-west-3' or 'azure/francecentral'"
    raise ArgumentError("cloud", cloud, expected + _nearest(cloud, tables.regions()))


def _nearest(given: object, known: Iterable[str]) -> str:
    folded = {name.upper(): name for name in known}
    near = difflib.get_close_matches(str(given).upper(), folded, n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(repr(folded[name]) for name in near)}?" if near else ""


def _time_zone(environ: Mapping[str, str], root: Path) -> str:
    """The name of the time zone, e.g. ``Europe/Paris``; empty where it has none."""
    if name := environ.get("TZ", "").lstrip(":"):
        return name
    link = root / "etc" / "localtime"
    target = link.readlink() if link.is_symlink() else Path()
    return str(target).partition("zoneinfo/")[2]


def _country_of(time_zone: str, root: Path) -> str:
    """The country of a time zone by the system's own table; empty where it is in several, or in none."""
    table = root / "usr" / "share" / "zoneinfo" / "zone.tab"
    if not table.exists():
        return ""
    for line in table.read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if not line.startswith("#") and len(cells) > 2 and cells[2] == time_zone:
            return cells[0]
    return ""
