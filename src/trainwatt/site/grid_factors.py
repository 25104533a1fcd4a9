"""Factors of a place, each with range, source and year."""

from __future__ import annotations

from functools import cache

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
# Zones whose local currency is that of the price table.
_EURO = frozenset({"AT", "BE", "DE", "ES", "FI", "FR", "GR", "IE", "IT", "LU", "NL", "PT"})
_EURO |= {"BG", "CY", "EE", "HR", "LT", "LV", "MT", "SI", "SK"}


def carbon_intensity(place: Place) -> Factor:
    """Return the yearly mean; its range covers how far the hours of a run may deviate from it.

    Three uncertainties are taken as independent: differing sources, the hours of the run, and the age of the figure.
    """
    grid = tables.grids()[place.zone]
    value = float(grid["gco2e_per_kwh"])
    low, high, note = _yearly_range(place, value)
    return Factor(
        "carbon intensity",
        value,
        value / spread((low / value, _HOURLY_LOW, 1 / _AGE)),
        value * spread((high / value, _HOURLY_HIGH, _AGE)),
        GRID_UNIT,
        grid["source"],
        grid["year"],
        f"{grid['basis']}, {grid['flow']}, yearly mean",
        note,
    )


def source_spread(place: Place) -> tuple[float, float]:
    """Return how far the sources for a grid differ, as ratios of low and high to the figure.

    If hourly figures are known, only this uncertainty remains.
    """
    value = float(tables.grids()[place.zone]["gco2e_per_kwh"])
    low, high, _ = _yearly_range(place, value)
    return low / value, high / value


def facility(place: Place, name: str, column: str, unit: str) -> Factor:
    """Return PUE or WUE of the cloud region, else of its provider, else of a machine outside a data centre."""
    region = tables.regions().get(place.cloud) if place.cloud else None
    if region is None:
        return _own_machine(name, column, unit)
    value, kind = float(region[column]), column.split("_", maxsplit=1)[0]
    if region[f"{kind}_quality"] == "published":
        return Factor(name, value, value, value, unit, region["source"], region[f"{kind}_year"])
    source = next(row["source"] for row in tables.defaults(region["provider"]) if float(row[column]) == value)
    known = [value, *_published(column, kind, region["provider"])]
    note = "the provider's default, as none is published for the region; the range spans the published ones"
    return Factor(name, value, min(known), max(known), unit, source, note=note)


def water_of_the_grid(zone: str) -> Factor:
    """Return the water for electricity generation; if unknown, its range spans all countries with a figure."""
    grid = tables.grids()[zone]
    value, quality = float(grid["ewif_l_per_kwh"]), grid["ewif_quality"]
    low = high = value
    note = "of the whole country" if quality == "parent_country" else ""
    if quality in ("world_default", "world"):
        known = [float(row["ewif_l_per_kwh"]) for row in tables.grids().values() if row["ewif_quality"] == "country"]
        low, high = min(known), max(known)
        note = "of the world; the range spans all countries with a figure of their own"
    return Factor("water of the grid", value, low, high, WATER_UNIT, "EcoLogits 0.11.3", "", quality, note)


def price(zone: str) -> Factor | None:
    """Return the price for businesses, else the wholesale one; its range spans all known prices. None if unknown."""
    rows = tables.prices().get(zone)
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
        f"mean of {first['months']} months; not a household tariff",
    )


def local_currency(zone: str) -> str:
    """Return the ISO 4217 currency code of the euro area and the United States; empty for other zones."""
    if zone in _EURO:
        return "EUR"
    return "USD" if zone.partition("-")[0] == "US" else ""


def _yearly_range(place: Place, value: float) -> tuple[float, float, str]:
    grid, region = tables.grids()[place.zone], tables.regions().get(place.cloud) if place.cloud else None
    if place.zone == tables.WORLD:
        return *_nine_in_ten(), "the range spans nine countries in ten"
    low, high = float(grid["gco2e_low"] or value), float(grid["gco2e_high"] or value)
    if region is None or not region["provider_gco2e_per_kwh"] or tables.region_zone(place.cloud or "") != place.zone:
        return low, high, grid["note"]
    own = float(region["provider_gco2e_per_kwh"])
    reported = f"the range includes the provider's own figure of {own:g} for {region['provider_gco2e_year']}"
    return min(low, own), max(high, own), "; ".join(filter(None, (grid["note"], reported)))


@cache
def _nine_in_ten() -> tuple[float, float]:
    """Return the 5th and 95th percentiles of the carbon intensities of all countries."""
    rows = tables.grids().values()
    values = sorted(float(row["gco2e_per_kwh"]) for row in rows if row["zone_type"] == "country")
    return values[len(values) * 5 // 100], values[len(values) * 95 // 100]


def _own_machine(name: str, column: str, unit: str) -> Factor:
    own, unknown = tables.defaults("own_machine")[0], tables.defaults("unknown_datacentre")[0]
    value, high = float(own[column]), float(unknown[column])
    note = f"machine outside a data centre; the range includes an unknown data centre, {high:g} ({unknown['source']})"
    return Factor(name, value, value, high, unit, own["source"], note=note)


def _published(column: str, kind: str, provider: str) -> list[float]:
    """Return the figures that a provider publishes for its regions, or those of all providers if it has none."""
    rows = [row for row in tables.regions().values() if row[f"{kind}_quality"] == "published"]
    own = [row for row in rows if row["provider"] == provider]
    return [float(row[column]) for row in own or rows]
