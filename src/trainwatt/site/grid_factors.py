"""The factors of a place, each with its range, its source and its year."""

from __future__ import annotations

from functools import cache

from trainwatt.quantity import spread
from trainwatt.site import tables
from trainwatt.site.factor import Factor
from trainwatt.site.place import Place

GRID_UNIT = "gCO2e/kWh"
WATER_UNIT = "L/kWh"

# A year's mean in place of the hours of the run. On 2020's hourly data of France, Germany and Great Britain it is off a
# day's own mean by 33, 31 and 22 % on average. In France, the widest, nine days in ten find it between 36 % too low and
# 115 % too high; what a day really has is the reciprocal of that.
_HOURLY_LOW, _HOURLY_HIGH = 1 / 2.15, 1 / 0.64
# The newest figure is of the year before: nine grids in ten move by less than this in a year.
_AGE = 1.17
# Where the local currency is that of the table of prices.
_EURO = frozenset({"AT", "BE", "DE", "ES", "FI", "FR", "GR", "IE", "IT", "LU", "NL", "PT"})
_EURO |= {"BG", "CY", "EE", "HR", "LT", "LV", "MT", "SI", "SK"}


def carbon_intensity(place: Place) -> Factor:
    """A year's mean, its range widened by how far the hours of a run may lie from it.

    What is known of the year itself (sources differ), the hours and the year's age are independent of each other.
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
    """How far sources differ on a grid, as ratios: low and high over the figure; what is left where hours are known."""
    value = float(tables.grids()[place.zone]["gco2e_per_kwh"])
    low, high, _ = _yearly_range(place, value)
    return low / value, high / value


def facility(place: Place, name: str, column: str, unit: str) -> Factor:
    """PUE or WUE: the region's own, else its provider's, else those of a machine of one's own."""
    region = tables.regions().get(place.cloud) if place.cloud else None
    if region is None:
        return _own_machine(name, column, unit)
    value, kind = float(region[column]), column.split("_", maxsplit=1)[0]
    if region[f"{kind}_quality"] == "published":
        return Factor(name, value, value, value, unit, region["source"], region[f"{kind}_year"])
    source = next(row["source"] for row in tables.defaults(region["provider"]) if float(row[column]) == value)
    known = [value, *_published(column, kind, region["provider"])]
    note = "the provider's; none is published for the region, and the range holds the published ones"
    return Factor(name, value, min(known), max(known), unit, source, note=note)


def water_of_the_grid(zone: str) -> Factor:
    """Water that goes into the generation of electricity; the range of all countries where none is known."""
    grid = tables.grids()[zone]
    value, quality = float(grid["ewif_l_per_kwh"]), grid["ewif_quality"]
    low = high = value
    note = "the whole country's" if quality == "parent_country" else ""
    if quality in ("world_default", "world"):
        known = [float(row["ewif_l_per_kwh"]) for row in tables.grids().values() if row["ewif_quality"] == "country"]
        low, high, note = min(known), max(known), "the world's; the range holds all countries whose own is known"
    return Factor("water of the grid", value, low, high, WATER_UNIT, "EcoLogits 0.11.3", "", quality, note)


def price(zone: str) -> Factor | None:
    """What is paid, or what is traded where only that is known; the range spans all that is known. None: unknown."""
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
        f"mean of {first['months']} months; not a household's",
    )


def local_currency(zone: str) -> str:
    """The ISO 4217 code of what people pay with, in the euro area and the United States; empty elsewhere."""
    if zone in _EURO:
        return "EUR"
    return "USD" if zone.partition("-")[0] == "US" else ""


def _yearly_range(place: Place, value: float) -> tuple[float, float, str]:
    grid, region = tables.grids()[place.zone], tables.regions().get(place.cloud) if place.cloud else None
    if place.zone == tables.WORLD:
        return *_nine_in_ten(), "the range holds nine countries in ten"
    low, high = float(grid["gco2e_low"] or value), float(grid["gco2e_high"] or value)
    if region is None or not region["provider_gco2e_per_kwh"] or tables.region_zone(place.cloud or "") != place.zone:
        return low, high, grid["note"]
    own = float(region["provider_gco2e_per_kwh"])
    told = f"the provider tells {own:g} for {region['provider_gco2e_year']}, which the range holds"
    return min(low, own), max(high, own), "; ".join(filter(None, (grid["note"], told)))


@cache
def _nine_in_ten() -> tuple[float, float]:
    """The carbon intensities that nine countries in ten lie between."""
    rows = tables.grids().values()
    values = sorted(float(row["gco2e_per_kwh"]) for row in rows if row["zone_type"] == "country")
    return values[len(values) * 5 // 100], values[len(values) * 95 // 100]


def _own_machine(name: str, column: str, unit: str) -> Factor:
    own, unknown = tables.defaults("own_machine")[0], tables.defaults("unknown_datacentre")[0]
    value, high = float(own[column]), float(unknown[column])
    note = f"a machine of one's own; the range holds an unknown data centre's, {high:g} ({unknown['source']})"
    return Factor(name, value, value, high, unit, own["source"], note=note)


def _published(column: str, kind: str, provider: str) -> list[float]:
    """What a provider publishes for its regions; what all do where it publishes none."""
    rows = [row for row in tables.regions().values() if row[f"{kind}_quality"] == "published"]
    own = [row for row in rows if row["provider"] == provider]
    return [float(row[column]) for row in own or rows]
