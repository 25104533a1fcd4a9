"""A place and its factors."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainwatt.errors import ArgumentError
from trainwatt.live.provider import Provider
from trainwatt.site import config, grid_factors, tables
from trainwatt.site.factor import Factor
from trainwatt.site.layers import Layer, Setting, merged, place_of
from trainwatt.site.place import Place, find_place


class Live(NamedTuple):
    """The live source of a site's carbon intensity, and how far it has told.

    Attributes:
        provider: whom to ask.
        share: the part of the energy so far that it has told the carbon intensity of, 0 to 1.
        problem: why there is nothing new from it; empty where there is.
    """

    provider: Provider
    share: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True, init=False)
class Site:
    """Where a run happens, and what a kilowatt hour means there.

    What is given here holds; then ``TRAINWATT_ZONE``, ``TRAINWATT_PUE`` and so on in the environment; then the TOML
    file that ``TRAINWATT_CONFIG`` names, else ``~/.config/trainwatt.toml``, else ``/etc/trainwatt.toml``; the rest is
    looked up, offline. The environment or the file is left out as a whole where it names another place than what
    holds before it.

    Where both a zone and a cloud region are given, the zone decides on the grid and the price, the region on PUE and
    WUE, even where they lie in different places. With a zone alone the machine is taken for one's own.

    Args:
        zone: country (ISO 3166-1, two or three letters, or its name) or subdivision (ISO 3166-2).
        cloud: cloud region, ``provider/region``.
        pue: power usage effectiveness, at least 1.
        wue: litres per kWh of IT energy.
        tariff: price per kWh, in the local currency.
        carbon_intensity: gCO2e per kWh; or a live source: one of :mod:`trainwatt.live`, or its short name,
            ``"electricitymaps"``, ``"gb"``, ``"dk"``, ``"dk1"`` or ``"dk2"``. The yearly mean stands in where it
            tells nothing.
        market_intensity: gCO2e per kWh by the contracts of whoever pays, for a market-based line beside the
            location-based one.
        environ: the environment's variables.
        root: where ``etc`` and ``usr`` are looked for.

    Attributes:
        zone: grid zone, e.g. ``FR``, ``US-CA``, or ``WORLD``.
        name: its name.
        cloud: cloud region, ``provider/region``, or None.
        origin: how the place is known: ``given``, perhaps by a variable or in a file that is named, ``cloud
            environment: <variable>``, ``guessed from the time zone <name>``, or ``unknown: world average``.
        carbon_intensity: gCO2e per kWh of electricity.
        pue: power usage effectiveness: facility energy over IT energy.
        wue: litres of water that the facility uses per kWh of IT energy.
        ewif: litres of water per kWh of electricity in its generation.
        price: per kWh; None where none is known: then there is no cost, rather than an invented one.
        currency: of the price, an ISO 4217 code; empty where none is known.
        market: gCO2e per kWh by contract; None where the user gives none.
        live: the live source of the carbon intensity, if any.

    Raises:
        ArgumentError: names the argument, variable or key, what was given, and what would be right.
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
    market: Factor | None
    live: Live | None

    def __init__(
        self,
        *,
        zone: str | None = None,
        cloud: str | None = None,
        pue: float | None = None,
        wue: float | None = None,
        tariff: float | None = None,
        carbon_intensity: float | str | Provider | None = None,
        market_intensity: float | None = None,
        environ: Mapping[str, str] = os.environ,
        root: Path = Path("/"),
    ) -> None:
        arguments = {
            "zone": zone,
            "cloud": cloud,
            "pue": pue,
            "wue": wue,
            "tariff": tariff,
            "carbon_intensity": carbon_intensity,
            "market_intensity": market_intensity,
        }
        given = {key: Setting(value, key) for key, value in arguments.items() if value is not None}
        said = merged([given, config.from_environment(environ), config.from_file(environ, root)])
        _set(self, **_known(said, environ, root))

    @classmethod
    def resolve(cls, **arguments: Any) -> Site:
        """The same as calling the class."""
        return cls(**arguments)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Every figure that the site's footprints come from."""
        known = (self.carbon_intensity, self.market, self.pue, self.wue, self.ewif, self.price)
        return tuple(factor for factor in known if factor is not None)

    def moved(self, zone: str) -> Site:
        """The same machine on another grid, for a comparison: with its own PUE and WUE.

        The price is left out where the two are not of one source, basis and currency; a tariff of the user's never is.

        Args:
            zone: as in :meth:`resolve`.

        Raises:
            ArgumentError: an unknown zone, or one whose carbon intensity is of another source or basis.
        """
        there = _changed(self, **_known({"zone": Setting(zone, "zone")}, {}, Path("/")))
        here = self.static().carbon_intensity
        if not here.compares_with(there.carbon_intensity):
            kind = f"carbon intensity is {here.source}" if here.is_given else f"{here.source}, {here.basis}"
            raise ArgumentError("zone", zone, f"a zone whose figure compares with {self.zone}'s own ({kind})")
        price = there.price if self.price and there.price and self.price.compares_with(there.price) else None
        return _changed(there, pue=self.pue, wue=self.wue, price=price, currency=there.currency if price else "")

    def static(self) -> Site:
        """The same place by the yearly mean of its grid, where its carbon intensity is a live one: to compare with."""
        if self.live is None:
            return self
        place = Place(self.zone, self.cloud, self.origin)
        return _changed(self, carbon_intensity=grid_factors.carbon_intensity(place), live=None)

    def metered(self, mean: Factor, share: float, problem: str) -> Site:
        """The same site with the carbon intensity of a run so far.

        Args:
            mean: weighted by the run's energy.
            share: the part of the energy that the live source has told it of.
            problem: why there is nothing new from it; empty where there is.
        """
        return _changed(
            self, carbon_intensity=mean, live=self.live and self.live._replace(share=share, problem=problem)
        )

    def comparable_zones(self) -> tuple[str, ...]:
        """The zones, this one among them, whose carbon intensity is of the same source and basis; not the world."""
        places = (Place(zone, None, "given") for zone in tables.grids() if zone != tables.WORLD)
        here = self.static().carbon_intensity
        return tuple(place.zone for place in places if here.compares_with(grid_factors.carbon_intensity(place)))

    def text(self) -> str:
        """The place, its carbon intensity and where both come from, in a line."""
        return site_text(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form, with every factor's source and year."""
        return {
            "zone": self.zone,
            "name": self.name,
            "cloud": self.cloud,
            "origin": self.origin,
            "currency": self.currency,
            "live": self.live
            and {"provider": self.live.provider.name, "share": self.live.share, "problem": self.live.problem},
            "factors": {
                "carbon_intensity": self.carbon_intensity.to_dict(),
                "pue": self.pue.to_dict(),
                "wue": self.wue.to_dict(),
                "ewif": self.ewif.to_dict(),
                "price": self.price.to_dict() if self.price else None,
                "market_intensity": self.market.to_dict() if self.market else None,
            },
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Site:
        """What :meth:`to_dict` has made; a live source is not asked any more, its figure is kept."""
        site, factors = cls.__new__(cls), {**state["factors"]}
        factors["market"] = factors.pop("market_intensity")
        known = {name: factor and Factor(**factor) for name, factor in factors.items()}
        _set(
            site, **{name: state[name] for name in ("zone", "name", "cloud", "origin", "currency")}, **known, live=None
        )
        return site


def site_text(site: Mapping[str, Any]) -> str:
    """What :meth:`Site.text` tells, from what :meth:`Site.to_dict` makes."""
    intensity, pue = site["factors"]["carbon_intensity"], site["factors"]["pue"]
    where = f"{site['name']}, {site['cloud']}" if site["cloud"] else site["name"]
    source = " ".join(filter(None, (intensity["source"], intensity["year"])))
    return f"{where} ({site['origin']}): {intensity['value']:.0f} gCO2e/kWh ({source}), PUE {pue['value']:.2f}"


def _changed(site: Site, **changes: Any) -> Site:
    changed = copy.copy(site)
    _set(changed, **changes)
    return changed


def _set(site: Site, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(site, name, value)  # frozen for all others


def _known(said: Layer, environ: Mapping[str, str], root: Path) -> dict[str, Any]:
    """A site's attributes, from what was said."""
    live = _live(said)
    place = place_of(said) or _place_of(live, said) or find_place(None, None, environ, root)
    price, currency = _price(place.zone, said)
    pue = _given(said, "pue", "PUE", 1, "")
    wue = _given(said, "wue", "WUE", 0, grid_factors.WATER_UNIT)
    return {
        "zone": place.zone,
        "name": tables.grids()[place.zone]["name"],
        "cloud": place.cloud,
        "origin": place.origin,
        "carbon_intensity": _intensity(place, said, live),
        "pue": pue or grid_factors.facility(place, "PUE", "pue", ""),
        "wue": wue or grid_factors.facility(place, "WUE", "wue_l_per_kwh", grid_factors.WATER_UNIT),
        "ewif": grid_factors.water_of_the_grid(place.zone),
        "price": price,
        "currency": currency,
        "market": _given(said, "market_intensity", "market-based carbon intensity", 0, grid_factors.GRID_UNIT),
        "live": live and Live(_bound(live, place.zone, said)),
    }


def _live(said: Layer) -> Provider | None:
    """The live source that is asked for."""
    asked = said.get("carbon_intensity")
    if asked is None or isinstance(asked.value, (int, float)):
        return None
    if isinstance(asked.value, Provider):
        return asked.value
    from trainwatt.live.sources import provider_named  # noqa: PLC0415  # few need it

    token = said.get("electricitymaps_token")
    try:
        return provider_named(asked.value, token and token.value)
    except (ValueError, AttributeError) as error:
        expected = str(error) if isinstance(asked.value, str) else "a number of gCO2e/kWh, or a live source"
        raise ArgumentError(asked.label, asked.value, expected) from None


def _place_of(live: Provider | None, said: Layer) -> Place | None:
    """Where nobody says where it is, a source that tells of one country does."""
    return Place(live.country, None, said["carbon_intensity"].source) if live and live.country else None


def _bound(live: Provider, zone: str, said: Layer) -> Provider:
    asked = said["carbon_intensity"]
    try:
        return live.at(zone)
    except ValueError as error:
        raise ArgumentError(asked.label, asked.value, str(error)) from None


def _intensity(place: Place, said: Layer, live: Provider | None) -> Factor:
    """What holds until a live source has told."""
    own = None if live else _given(said, "carbon_intensity", "carbon intensity", 0, grid_factors.GRID_UNIT)
    return own or grid_factors.carbon_intensity(place)


def _price(zone: str, said: Layer) -> tuple[Factor | None, str]:
    """The price and its currency: a tariff is in the local one, which is not always that of the known price."""
    local = grid_factors.local_currency(zone)
    if given := _given(said, "tariff", "price", 0, f"{local}/kWh"):
        return given, local
    price = grid_factors.price(zone)
    return price, price.unit.partition("/")[0] if price else ""


def _given(said: Layer, key: str, name: str, least: float, unit: str) -> Factor | None:
    each = said.get(key)
    return Factor.given(name, each.number(least, unit), unit, each.source) if each else None
