"""Factor tables shipped with the package, read on first use."""

from __future__ import annotations

import csv
import io
import pkgutil
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from functools import cache

Row = Mapping[str, str]

WORLD = "WORLD"

# The table only names the country of a region; in these countries, grids differ by area. The places are the providers'
# own: Montréal, Toronto, Calgary, Québec; Beijing, Hebei, Ningxia, Shanghai; and the states of the United States.
_AREAS = {
    "aws/ca-central-1": "CA-QC",
    "aws/ca-west-1": "CA-AB",
    "azure/canadacentral": "CA-ON",
    "azure/canadaeast": "CA-QC",
    "gcp/northamerica-northeast1": "CA-QC",
    "gcp/northamerica-northeast2": "CA-ON",
    "ovh/ca-beauharnois": "CA-QC",
    "ovh/ca-toronto": "CA-ON",
    "aws/cn-north-1": "CN-BJ",
    "aws/cn-northwest-1": "CN-NX",
    "azure/chinaeast": "CN-SH",
    "azure/chinaeast2": "CN-SH",
    "azure/chinanorth": "CN-BJ",
    "azure/chinanorth2": "CN-BJ",
    "azure/chinanorth3": "CN-HE",
    "aws/us-east-1": "US-VA",
    "aws/us-east-2": "US-OH",
    "aws/us-west-1": "US-CA",
    "aws/us-west-2": "US-OR",
    "azure/centralus": "US-IA",
    "azure/eastus": "US-VA",
    "azure/eastus2": "US-VA",
    "azure/eastus3": "US-GA",
    "azure/northcentralus": "US-IL",
    "azure/southcentralus": "US-TX",
    "azure/westcentralus": "US-WY",
    "azure/westus": "US-CA",
    "azure/westus2": "US-WA",
    "azure/westus3": "US-AZ",
    "gcp/us-central1": "US-IA",
    "gcp/us-central2": "US-OK",
    "gcp/us-east1": "US-SC",
    "gcp/us-east2": "US-GA",
    "gcp/us-east4": "US-VA",
    "gcp/us-east5": "US-OH",
    "gcp/us-south1": "US-TX",
    "gcp/us-west1": "US-OR",
    "gcp/us-west2": "US-CA",
    "gcp/us-west3": "US-UT",
    "gcp/us-west4": "US-NV",
    "ovh/us-hillsboro": "US-OR",
    "ovh/us-vint_hill": "US-VA",
}


@cache
def grids() -> dict[str, Row]:
    """Return grids by zone: ISO 3166-1 alpha-2, ISO 3166-2 for subdivisions, or ``WORLD``."""
    return {row["zone"]: row for row in rows("grids.csv")}


def country_of(zone: str) -> str:
    """Return the country of a zone; the zone itself if it is one, or the world."""
    return zone.partition("-")[0]


def grid(zone: str) -> Row:
    """Return the grid of a zone; for an area without figures, such as ``DE-BY``, that of its country."""
    return grids().get(zone) or grids()[country_of(zone)]


def zone_name(zone: str) -> str:
    """Return the name of a zone; for an area without figures, it names the country whose mean is used."""
    return grid(zone)["name"] if zone in grids() else f"{zone} (mean of {grid(zone)['name']})"


@cache
def area_figures(country: str) -> tuple[float, ...]:
    """Return the figures for areas of a country, in gCO2e/kWh, ascending: of its subdivisions and of cloud providers.

    Empty if they do not show that the areas differ.
    """
    areas = {float(row["gco2e_per_kwh"]) for zone, row in grids().items() if zone.startswith(f"{country}-")}
    own = {row["provider_gco2e_per_kwh"] for row in regions().values() if row["country"] == country}
    figures = sorted(areas | {float(figure) for figure in own if figure})
    return tuple(figures) if len(figures) > 1 else ()


@cache
def zones_called() -> dict[str, list[str]]:
    """Return zones by every accepted name, folded: two- and three-letter codes, subdivisions, names.

    Several zones may share a name, e.g. Georgia, but never a code.
    """
    called: defaultdict[str, list[str]] = defaultdict(list)
    for zone, row in grids().items():
        called[folded(row["name"])].append(zone)
    countries = {row["iso3"]: [zone] for zone, row in grids().items() if row["zone_type"] == "country"}
    return {**called, **countries, **{zone: [zone] for zone in grids()}}


def folded(name: str) -> str:
    """Return a name in capitals without accents and outer spaces, for a lookup."""
    plain = unicodedata.normalize("NFKD", name.strip().upper())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


@cache
def regions() -> dict[str, Row]:
    """Return cloud regions by ``provider/region``."""
    return {f"{row['provider']}/{row['region']}": row for row in rows("cloud_regions.csv")}


def region_zone(region: str) -> str:
    """Return the grid zone of a cloud region: its state or province if its figure is known, else its country."""
    return _AREAS.get(region) or regions()[region]["zone"]


@cache
def defaults(provider: str) -> tuple[Row, ...]:
    """Return the rows of a provider's default PUE and WUE by area, for regions that publish none."""
    return tuple(row for row in rows("provider_defaults.csv") if row["provider"] == provider)


@cache
def prices() -> dict[str, list[Row]]:
    """Return electricity prices by zone, for businesses before wholesale; zones without prices are absent."""
    by_zone: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows("electricity_prices.csv"), key=lambda row: row["price_type"].startswith("wholesale")):
        by_zone[row["zone"]].append(row)
    return dict(by_zone)


@cache
def rows(name: str) -> tuple[Row, ...]:
    """Return the rows of a table."""
    # Not importlib.resources: importing it takes longer than reading all tables.
    data = pkgutil.get_data(__package__, f"data/{name}") or b""
    return tuple(csv.DictReader(io.StringIO(data.decode(), newline="")))
