"""Factor tables shipped with the package, read on first use."""

from __future__ import annotations

import csv
import io
import pkgutil
from collections import defaultdict
from collections.abc import Mapping
from functools import cache

Row = Mapping[str, str]

WORLD = "WORLD"

# The table only names the country of US regions; their states are public knowledge.
_US_STATES = {
    "aws/us-east-1": "VA",
    "aws/us-east-2": "OH",
    "aws/us-west-1": "CA",
    "aws/us-west-2": "OR",
    "azure/centralus": "IA",
    "azure/eastus": "VA",
    "azure/eastus2": "VA",
    "azure/eastus3": "GA",
    "azure/northcentralus": "IL",
    "azure/southcentralus": "TX",
    "azure/westcentralus": "WY",
    "azure/westus": "CA",
    "azure/westus2": "WA",
    "azure/westus3": "AZ",
    "gcp/us-central1": "IA",
    "gcp/us-central2": "OK",
    "gcp/us-east1": "SC",
    "gcp/us-east2": "GA",
    "gcp/us-east4": "VA",
    "gcp/us-east5": "OH",
    "gcp/us-south1": "TX",
    "gcp/us-west1": "OR",
    "gcp/us-west2": "CA",
    "gcp/us-west3": "UT",
    "gcp/us-west4": "NV",
    "ovh/us-hillsboro": "OR",
    "ovh/us-vint_hill": "VA",
}


@cache
def grids() -> dict[str, Row]:
    """Return grids by zone: ISO 3166-1 alpha-2, ISO 3166-2 for subdivisions, or ``WORLD``."""
    return {row["zone"]: row for row in rows("grids.csv")}


@cache
def zones_called() -> dict[str, list[str]]:
    """Return zones by every accepted name in capitals: two- and three-letter codes, subdivisions, names.

    Several zones may share a name, e.g. Georgia, but never a code.
    """
    called: defaultdict[str, list[str]] = defaultdict(list)
    for zone, row in grids().items():
        called[row["name"].upper()].append(zone)
    countries = {row["iso3"]: [zone] for zone, row in grids().items() if row["zone_type"] == "country"}
    return {**called, **countries, **{zone: [zone] for zone in grids()}}


@cache
def regions() -> dict[str, Row]:
    """Return cloud regions by ``provider/region``."""
    return {f"{row['provider']}/{row['region']}": row for row in rows("cloud_regions.csv")}


def region_zone(region: str) -> str:
    """Return the grid zone of a cloud region: its US state if known, else its country."""
    state = _US_STATES.get(region)
    return f"US-{state}" if state else regions()[region]["zone"]


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
