"""Factors of a place, each with range, source and year."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import NamedTuple

from trainwatt.quantity import spread
from trainwatt.site import tables
from trainwatt.site.factor import Factor
from trainwatt.site.place import Place

GRID_UNIT = "gCO2e/kWh"
WATER_UNIT = "L/kWh"

# Error of the yearly mean against the hours of the run. On hourly data of 2020, it differs from the daily mean by 33 %
# in France, 31 % in Germany and 22 % in Great Britain, on average. In France, which varies most, it is between 36 % too
# low and 115 % too high on nine days in ten. The true daily value follows from the reciprocals.
_HOURLY_LOW, _HOURLY_HIGH = 1 / 2.15, 1 / 0.64
# The newest figure is from the previous year: nine grids in ten change by less than this in a year.
_AGE = 1.17
# README of Google's region-carbon-info: "average operational gross emissions per unit of energy from the grid".
_PROVIDER_SOURCE = "Google region-carbon-info"
_PROVIDER_BASIS = "direct (operational), consumption"
# Zones whose local currency is that of the price table.
_EURO = frozenset({"AT", "BE", "DE", "ES", "FI", "FR", "GR", "IE", "IT", "LU", "NL", "PT"})
_EURO |= {"BG", "CY", "EE", "HR", "LT", "LV", "MT", "SI", "SK"}


class _YearlyMean(NamedTuple):
    """Carbon intensity of a place, in gCO2e/kWh, with the range of its sources."""

    value: float
    low: float
    high: float
    source: str
    year: str
    basis: str
    note: str = ""


def carbon_intensity(place: Place) -> Factor:
    """Return the yearly mean; its range covers how far the hours of a run may deviate from it.

    Three uncertainties are taken as independent: differing sources, the hours of the run, and the age of the figure.
    For an area without a figure, it is the mean of its country, with a range over all known grids.
    """
    mean = _provider_mean(place) or _table_mean(place)
    return Factor(
        "carbon intensity",
        mean.value,
        mean.value / spread((mean.low / mean.value, _HOURLY_LOW, 1 / _AGE)),
        mean.value * spread((mean.high / mean.value, _HOURLY_HIGH, _AGE)),
        GRID_UNIT,
        mean.source,
        mean.year,
        f"{mean.basis}, yearly mean",
        mean.note,
    )


def table_intensity(place: Place) -> Factor:
    """Return the yearly mean of the table of grids, for comparisons: a provider's own figure has another basis."""
    factor = carbon_intensity(place)
    return factor if factor.source != _PROVIDER_SOURCE else carbon_intensity(place._replace(cloud=None))


def source_spread(place: Place) -> tuple[float, float]:
    """Return how far the sources for a grid differ, as ratios of low and high to the figure.

    If hourly figures are known, only this uncertainty remains.
    """
    # Figures of an area's own are live: that its yearly mean is unknown does not matter.
    known = place if place.zone in tables.grids() else place._replace(zone=tables.country_of(place.zone))
    mean = _provider_mean(known) or _table_mean(known)
    return mean.low / mean.value, mean.high / mean.value


def pue(place: Place, sign: str = "") -> Factor:
    """Return the PUE of the cloud region, else of its provider, else of an own machine or an unknown data centre.

    Args:
        place: of the machine.
        sign: what shows that it stands in a data centre, as a clause; see :mod:`trainwatt.site.premises`. Empty:
            nothing does.
    """
    return _facility(place, "PUE", "pue", "", sign)


def wue(place: Place, sign: str = "") -> Factor:
    """Return the WUE of the cloud region, else of its provider, else of an own machine or an unknown data centre.

    Args: see :func:`pue`.
    """
    return _facility(place, "WUE", "wue_l_per_kwh", WATER_UNIT, sign)


def _facility(place: Place, name: str, column: str, unit: str, sign: str) -> Factor:
    region = tables.regions().get(place.cloud) if place.cloud else None
    if region is None:
        return _unknown_datacentre(name, column, unit, sign) if sign else _own_machine(name, column, unit)
    value, kind = float(region[column]), column.split("_", maxsplit=1)[0]
    if region[f"{kind}_quality"] == "published":
        return Factor(name, value, value, value, unit, region["source"], region[f"{kind}_year"])
    source = next(row["source"] for row in tables.defaults(region["provider"]) if float(row[column]) == value)
    known = [value, *_published(column, kind, region["provider"])]
    note = "the provider's default, as none is published for the region; the range spans the published ones"
    return Factor(name, value, min(known), max(known), unit, source, note=note)


def water_of_the_grid(zone: str) -> Factor:
    """Return the water for electricity generation; if unknown, its range spans all countries with a figure."""
    grid = tables.grid(zone)
    value, quality = float(grid["ewif_l_per_kwh"]), grid["ewif_quality"]
    low = high = value
    note = "of the whole country" if quality == "parent_country" or zone not in tables.grids() else ""
    if quality in ("world_default", "world"):
        known = [float(row["ewif_l_per_kwh"]) for row in tables.grids().values() if row["ewif_quality"] == "country"]
        low, high = min(known), max(known)
        note = "of the world; the range spans all countries with a figure of their own"
    return Factor("water of the grid", value, low, high, WATER_UNIT, "EcoLogits 0.11.3", "", quality, note)


def price(zone: str) -> Factor | None:
    """Return the price for businesses, else the wholesale one; its range spans all known prices. None if unknown.

    An area without prices has those of its country.
    """
    rows = tables.prices().get(zone) or tables.prices().get(tables.country_of(zone))
    if not rows:
        return None
    first, values = rows[0], [float(row["price_per_kwh"]) for row in rows]
    unit = f"{first['currency']}/kWh"
    return Factor(
        "price",
        values[0],
        min(values),
        max(values),
        unit,
        first["source"],
        first["period"],
        first["price_type"],
        f"mean of {first['months']} months; not a household tariff"
        + ("" if first["zone"] == zone else f"; of {first['zone']} as a whole"),
    )


def local_currency(zone: str) -> str:
    """Return the ISO 4217 currency code of the euro area and the United States; empty for other zones."""
    country = tables.country_of(zone)
    if country in _EURO:
        return "EUR"
    return "USD" if country == "US" else ""


def _provider_mean(place: Place) -> _YearlyMean | None:
    """Return the figure that a provider publishes for the grid of its region; None if the country has one grid."""
    region = _region(place)
    if region is None or not region["provider_gco2e_per_kwh"] or region["country"] not in _provider_areas():
        return None
    own, grid = float(region["provider_gco2e_per_kwh"]), tables.grid(place.zone)
    other = float(grid["gco2e_per_kwh"])
    return _YearlyMean(
        own,
        min(own, other),
        max(own, other),
        _PROVIDER_SOURCE,
        region["provider_gco2e_year"],
        _PROVIDER_BASIS,
        f"the provider's own figure for {region['location']}, {own:g} for {region['provider_gco2e_year']}; the range "
        f"includes the {grid['basis']} figure for {grid['name']}, {other:g} ({grid['source']})",
    )


def _table_mean(place: Place) -> _YearlyMean:
    """Return the figure of the table of grids, for an area without one that of its country."""
    grid, basis = tables.grid(place.zone), _basis(tables.grid(place.zone))
    value = float(grid["gco2e_per_kwh"])
    low, high, notes = float(grid["gco2e_low"] or value), float(grid["gco2e_high"] or value), [grid["note"]]
    if place.zone not in tables.grids():
        low, high = _all_grids()
        basis = f"{basis}, mean of {grid['name']}"
        notes = [f"no figure for {place.zone} is known: give carbon_intensity=; the range spans all known grids"]
    elif place.zone == tables.WORLD:
        low, high = _nine_in_ten()
        notes = ["the range spans nine countries in ten"]
    elif region := _region(place):
        low, high, note = _in_the_country(region, place, low, high)
        notes.append(note)
    return _YearlyMean(value, low, high, grid["source"], grid["year"], basis, "; ".join(filter(None, notes)))


def _in_the_country(region: tables.Row, place: Place, low: float, high: float) -> tuple[float, float, str]:
    """Return the range and a note on it for a cloud region whose figure is that of its whole zone."""
    if region["provider_gco2e_per_kwh"]:
        own = float(region["provider_gco2e_per_kwh"])
        note = f"the range includes the provider's own figure of {own:g} for {region['provider_gco2e_year']}"
        return min(low, own), max(high, own), note
    areas = tables.area_figures(place.zone)
    if not areas:
        return low, high, ""
    note = f"mean of {tables.zone_name(place.zone)}; the range spans the known figures of its areas"
    return min(low, areas[0]), max(high, areas[-1]), note


def _region(place: Place) -> tables.Row | None:
    """Return the cloud region, if it lies in the place's zone, else None."""
    if place.cloud is None or tables.region_zone(place.cloud) != place.zone:
        return None
    return tables.regions()[place.cloud]


def _basis(grid: tables.Row) -> str:
    return f"{grid['basis']}, {grid['flow']}"


@cache
def _provider_areas() -> frozenset[str]:
    """Return the countries whose regions differ in what providers publish; the United States have the EPA's figures."""
    figures: defaultdict[str, set[str]] = defaultdict(set)
    for row in tables.regions().values():
        figures[row["country"]].add(row["provider_gco2e_per_kwh"])
    return frozenset(country for country, known in figures.items() if len(known - {""}) > 1) - {"US"}


@cache
def _all_grids() -> tuple[float, float]:
    """Return the lowest and the highest carbon intensity of all grids, those of cloud providers included."""
    own = [row["provider_gco2e_per_kwh"] for row in tables.regions().values()]
    known = [row["gco2e_per_kwh"] for row in tables.grids().values()] + list(filter(None, own))
    values = list(map(float, known))
    return min(values), max(values)


@cache
def _nine_in_ten() -> tuple[float, float]:
    """Return the 5th and 95th percentiles of the carbon intensities of all countries."""
    rows = tables.grids().values()
    values = sorted(float(row["gco2e_per_kwh"]) for row in rows if row["zone_type"] == "country")
    return values[len(values) * 5 // 100], values[len(values) * 95 // 100]


def _own_machine(name: str, column: str, unit: str) -> Factor:
    own, unknown = tables.defaults("own_machine")[0], tables.defaults("unknown_datacentre")[0]
    value, high = float(own[column]), float(unknown[column])
    source = unknown["wue_source"] if name == "WUE" else unknown["source"]
    note = f"machine outside a data centre; the range includes an unknown data centre, {high:g} ({source})"
    return Factor(name, value, value, high, unit, own["source"], note=note)


def _unknown_datacentre(name: str, column: str, unit: str, sign: str) -> Factor:
    row, kind = tables.defaults("unknown_datacentre")[0], column.split("_", maxsplit=1)[0]
    low, value, high = (float(row[each]) for each in (f"{kind}_low", column, f"{kind}_high"))
    source = row["wue_source"] if kind == "wue" else row["source"]
    note = f"if the figure of the data centre is known, give {kind}="
    return Factor(name, value, low, high, unit, source, basis=f"assumed: unknown data centre, {sign}", note=note)


def _published(column: str, kind: str, provider: str) -> list[float]:
    """Return the figures that a provider publishes for its regions, or those of all providers if it has none."""
    rows = [row for row in tables.regions().values() if row[f"{kind}_quality"] == "published"]
    own = [row for row in rows if row["provider"] == provider]
    return [float(row[column]) for row in own or rows]
