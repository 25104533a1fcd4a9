"""A place and its factors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.site import lookup, tables
from trainwatt.site.factor import Factor
from trainwatt.site.place import Place, find_place


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run happens, and what a kilowatt hour means there.

    Attributes:
        zone: grid zone, e.g. ``FR``, ``US-CA``, or ``WORLD``.
        name: its name.
        cloud: cloud region, ``provider/region``, or None.
        origin: how the place is known: ``given``, ``cloud environment: <variable>``, ``guessed from the time zone
            <name>``, or ``unknown: world average``.
        carbon_intensity: gCO2e per kWh of electricity.
        pue: power usage effectiveness: facility energy over IT energy.
        wue: litres of water that the facility uses per kWh of IT energy.
        ewif: litres of water per kWh of electricity in its generation.
        price: per kWh; None where none is known: then there is no cost, rather than an invented one.
        currency: of the price, an ISO 4217 code; empty where none is known.
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

        Where both a zone and a cloud region are given, the zone decides on the grid and the price, the region on PUE
        and WUE, even where they lie in different places. With a zone alone the machine is taken for one's own.

        Args:
            zone: country (ISO 3166-1, two or three letters, or its name) or subdivision (ISO 3166-2).
            cloud: cloud region, ``provider/region``.
            pue: power usage effectiveness, at least 1.
            wue: litres per kWh of IT energy.
            tariff: price per kWh, in the local currency.
            carbon_intensity: gCO2e per kWh.
            environ: the environment's variables.

        Raises:
            ArgumentError: names the argument, what was given, and what would be right.
        """
        place = find_place(zone, cloud, environ)
        price, currency = _price(place.zone, tariff)
        return cls(
            zone=place.zone,
            name=tables.grids()[place.zone]["name"],
            cloud=place.cloud,
            origin=place.origin,
            carbon_intensity=_intensity(place, carbon_intensity),
            pue=_given("pue", "PUE", pue, 1, "") or lookup.facility(place, "PUE", "pue", ""),
            wue=_given("wue", "WUE", wue, 0, lookup.WATER_UNIT)
            or lookup.facility(place, "WUE", "wue_l_per_kwh", lookup.WATER_UNIT),
            ewif=lookup.water_of_the_grid(place.zone),
            price=price,
            currency=currency,
        )

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Every figure that the site's footprints come from."""
        known = (self.carbon_intensity, self.pue, self.wue, self.ewif, self.price)
        return tuple(factor for factor in known if factor is not None)

    def moved(self, zone: str) -> Site:
        """The same machine on another grid, for a comparison: with its own PUE and WUE.

        The price is left out where the two are not of one source, basis and currency; a tariff of the user's never is.

        Args:
            zone: as in :meth:`resolve`.

        Raises:
            ArgumentError: an unknown zone, or one whose carbon intensity is of another source or basis.
        """
        there = Site.resolve(zone=zone, environ={})
        here = self.carbon_intensity
        if not here.compares_with(there.carbon_intensity):
            kind = f"carbon intensity is {here.source}" if here.source == "given" else f"{here.source}, {here.basis}"
            raise ArgumentError("zone", zone, f"a zone whose figure compares with {self.zone}'s own ({kind})")
        price = there.price if self.price and there.price and self.price.compares_with(there.price) else None
        return replace(there, pue=self.pue, wue=self.wue, price=price, currency=there.currency if price else "")

    def comparable_zones(self) -> tuple[str, ...]:
        """The zones, this one among them, whose carbon intensity is of the same source and basis; not the world."""
        places = (Place(zone, None, "given") for zone in tables.grids() if zone != tables.WORLD)
        here = self.carbon_intensity
        return tuple(place.zone for place in places if here.compares_with(lookup.carbon_intensity(place)))

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


def _intensity(place: Place, given: float | None) -> Factor:
    own = _given("carbon_intensity", "carbon intensity", given, 0, lookup.GRID_UNIT)
    return own or lookup.carbon_intensity(place)


def _price(zone: str, tariff: float | None) -> tuple[Factor | None, str]:
    """The price and its currency: a tariff is in the local one, which is not always that of the known price."""
    local = lookup.local_currency(zone)
    if given := _given("tariff", "price", tariff, 0, f"{local}/kWh"):
        return given, local
    price = lookup.price(zone)
    return price, price.unit.partition("/")[0] if price else ""


def _given(argument: str, name: str, value: float | None, least: float, unit: str) -> Factor | None:
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value < float("inf"):
        raise ArgumentError(argument, value, f"a number of at least {least:g}{f' {unit}' if unit else ''}")
    return Factor.given(name, float(value), unit)
