"""A place and its factors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.site import tables
from trainwatt.site.factor import Factor
from trainwatt.site.place import Place, find_place

# A year's mean in place of the hours of the run: against 2020's hourly data of France, Germany and Great Britain, a
# day's mean lies 22 to 33 % off it on average; in France nine days in ten lie between 36 % below and 115 % above.
_HOURLY_LOW, _HOURLY_HIGH = 0.64, 1.6
_GRID_UNIT = "gCO2e/kWh"
_WATER_UNIT = "L/kWh"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run happens, and what a kilowatt hour means there.

    Attributes:
        zone: grid zone, e.g. ``FR``, ``US-CA``, or ``WORLD``.
        name: its name.
        cloud: cloud region, ``provider/region``, or None.
        origin: how the place is known, e.g. ``given`` or ``guessed from the time zone Europe/Paris``.
        carbon_intensity: gCO2e per kWh of electricity.
        pue: power usage effectiveness: facility energy over IT energy.
        wue: litres of water that the facility uses per kWh of IT energy.
        ewif: litres of water per kWh of electricity in its generation.
        price: per kWh; None where none is known: then there is no cost, rather than an invented one.
        currency: of the prices at the place, an ISO 4217 code; empty where none is known.
    """

    zone: str
    name: str
    cloud: str | None
    origin: str
    carbon_intensity: Factor
    pue: Factor
    wue: Factor
    ewif: Factor
    price: Factor | None
    currency: str

    @classmethod
    def resolve(
        cls,
        *,
        zone: str | None = None,
        cloud: str | None = None,
        pue: float | None = None,
        wue: float | None = None,
        tariff: float | None = None,
        carbon_intensity: float | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Site:
        """The site that a user describes; what is not given is looked up, offline.

        Args:
            zone: country or subdivision.
            cloud: cloud region, ``provider/region``.
            pue: power usage effectiveness, at least 1.
            wue: litres per kWh.
            tariff: price per kWh.
            carbon_intensity: gCO2e per kWh.
            environ: the environment's variables.

        Raises:
            ArgumentError: names the argument, what was given, and what would be right.
        """
        place = find_place(zone, cloud, environ)
        grid = tables.grids()[place.zone]
        price, currency = _price(place.zone)
        return cls(
            zone=place.zone,
            name=grid["name"],
            cloud=place.cloud,
            origin=place.origin,
            carbon_intensity=_given("carbon_intensity", carbon_intensity, 0, _GRID_UNIT) or _grid_factor(grid),
            pue=_given("pue", pue, 1, "") or _facility_factor(place, "pue", ""),
            wue=_given("wue", wue, 0, _WATER_UNIT) or _facility_factor(place, "wue_l_per_kwh", _WATER_UNIT),
            ewif=_water_factor(grid),
            price=_given("tariff", tariff, 0, "/kWh") or price,
            currency=currency,
        )

    def text(self) -> str:
        """The place, its carbon intensity and where both come from, in a line."""
        intensity = self.carbon_intensity
        where = f"{self.name}, {self.cloud}" if self.cloud else self.name
        source = " ".join(filter(None, (intensity.source, intensity.year)))
        return f"{where} ({self.origin}): {intensity.value:.0f} gCO2e/kWh ({source}), PUE {self.pue.value:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form, with every factor's source and year."""
        return {
            "zone": self.zone,
            "name": self.name,
            "cloud": self.cloud,
            "origin": self.origin,
            "currency": self.currency,
            "factors": {
                "carbon_intensity": self.carbon_intensity.to_dict(),
                "pue": self.pue.to_dict(),
                "wue": self.wue.to_dict(),
                "ewif": self.ewif.to_dict(),
                "price": self.price.to_dict() if self.price else None,
            },
        }


def _given(argument: str, value: float | None, least: float, unit: str) -> Factor | None:
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value < float("inf"):
        raise ArgumentError(argument, value, f"a number of at least {least:g}{f' {unit}' if unit else ''}")
    return Factor.given(float(value), unit)


def _grid_factor(grid: tables.Row) -> Factor:
    """A year's mean, its range widened by how far the hours of a run may lie from it."""
    value = float(grid["gco2e_per_kwh"])
    low, high = float(grid["gco2e_low"] or value), float(grid["gco2e_high"] or value)
    basis = f"{grid['basis']}, {grid['flow']}, yearly mean"
    return Factor(value, low * _HOURLY_LOW, high * _HOURLY_HIGH, _GRID_UNIT, grid["source"], grid["year"], basis)


def _facility_factor(place: Place, column: str, unit: str) -> Factor:
    """PUE or WUE: the region's own, its provider's, or none for a machine of one's own."""
    region = tables.regions().get(place.cloud or "")
    if region is not None and region[column]:
        value, year = float(region[column]), region[f"{column.split('_', maxsplit=1)[0]}_year"]
        return Factor(value, value, value, unit, region["source"], year)
    row = tables.defaults()[region["provider"] if region else "own_machine"]
    value = float(row[column])
    return Factor(value, value, value, unit, row["source"])


def _water_factor(grid: tables.Row) -> Factor:
    value = float(grid["ewif_l_per_kwh"])
    return Factor(value, value, value, _WATER_UNIT, "EcoLogits 0.11.3", "", grid["ewif_quality"])


def _price(zone: str) -> tuple[Factor | None, str]:
    """What is paid, or what is traded where only that is known; the range spans all that is known."""
    rows = tables.prices(zone)
    if not rows:
        return None, ""
    values = [float(row["price_per_kwh"]) for row in rows]
    first = rows[0]
    unit = f"{first['currency']}/kWh"
    factor = Factor(values[0], min(values), max(values), unit, first["source"], first["period"], first["price_type"])
    return factor, first["currency"]
