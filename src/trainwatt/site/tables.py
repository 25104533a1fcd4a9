"""The factors that ship with the package, read when they are first asked for."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

Row = Mapping[str, str]

WORLD = "WORLD"
_DATA = Path(__file__).parent / "data"

# The table places regions in the United States in the whole country; the states are public.
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
}


@cache
def grids() -> dict[str, Row]:
    """Grids by zone: ISO 3166-1 alpha-2, ISO 3166-2 for subdivisions, or ``WORLD``."""
    return {row["zone"]: row for row in _rows("grids.csv")}


@cache
def zone_names() -> dict[str, str]:
    """Zones by everything that they may be called: codes of two and three letters, subdivisions, names; in capitals."""
    names = {row["name"].upper(): zone for zone, row in grids().items()}
    names |= {row["iso3"]: zone for zone, row in grids().items() if row["zone_type"] == "country"}
    return names | {zone: zone for zone in grids()}


@cache
def regions() -> dict[str, Row]:
    """Cloud regions by ``provider/region``."""
    return {f"{row['provider']}/{row['region']}": row for row in _rows("cloud_regions.csv")}


def region_zone(region: str) -> str:
    """The grid zone of a cloud region: the state where it is known."""
    state = _US_STATES.get(region)
    return f"US-{state}" if state else regions()[region]["zone"]


@cache
def defaults() -> dict[str, Row]:
    """PUE and WUE by provider, where a region publishes none."""
    return {row["provider"]: row for row in reversed(list(_rows("provider_defaults.csv")))}


def prices(zone: str) -> list[Row]:
    """Prices of electricity in a zone, what is paid before what is traded; empty where none is known."""
    rows = [row for row in _rows("electricity_prices.csv") if row["zone"] == zone]
    return sorted(rows, key=lambda row: row["price_type"].startswith("wholesale"))


def _rows(name: str) -> Iterator[Row]:
    with (_DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
