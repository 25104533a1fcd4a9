"""Place of a run with its factors."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainwatt.containment import error_text
from trainwatt.errors import ArgumentError
from trainwatt.live.provider import Provider, Source
from trainwatt.site import config, grid_factors, premises, tables
from trainwatt.site.factor import Factor
from trainwatt.site.layers import Layer, Limits, Setting, differ, merged, place_of
from trainwatt.site.place import Place, find_place

_log = logging.getLogger("trainwatt")

# No grid emits more: those of Turkmenistan and Uzbekistan, the highest, have 1300 and 1100 gCO2e/kWh in the table.
# The lowest published figures, of hydropower and nuclear grids, are about 2 gCO2e/kWh.
_INTENSITY = Limits(
    0, 2000, grid_factors.GRID_UNIT, smallest=1, why="no grid is outside", per_unit=(1000, "kgCO2e/kWh")
)
# Uptime Institute's surveys have had averages from 2.5 in 2007 to 1.54 in 2025.
_PUE = Limits(1, 5, why="it is the energy of the whole data centre over that of its computers, seldom above 3")
_WUE = Limits(0, 20, grid_factors.WATER_UNIT, why="the highest published figure of a cloud region is 2.75 L/kWh")
_DEAREST_PER_KWH = 5.0


class Live(NamedTuple):
    """Live source of a site's carbon intensity, and its coverage so far.

    Attributes:
        provider: the source.
        name: its name.
        share: part of the energy so far with a live carbon intensity, 0 to 1.
        problem: reason for missing new figures; empty if there is none.
    """

    provider: Provider
    name: str
    share: float = 0.0
    problem: str = ""


class Contradiction(NamedTuple):
    """Setting with different values for two sites.

    Attributes:
        argument: its name.
        value: for the first site.
        other: for the second site, with its origin.
    """

    argument: str
    value: float | str
    other: str


# Arguments of a site, and the factors that they give.
_ARGUMENTS = {
    "carbon_intensity": "carbon_intensity",
    "pue": "pue",
    "wue": "wue",
    "tariff": "price",
    "market_intensity": "market",
}


@dataclass(frozen=True, slots=True, init=False)
class Site:
    """Place of a run, and the emissions, water and cost of a kilowatt hour there.

    Settings take precedence in this order: the arguments; ``TRAINWATT_ZONE``, ``TRAINWATT_PUE`` and so on in the
    environment; the TOML file named by ``TRAINWATT_CONFIG``, else ``~/.config/trainwatt.toml``, else
    ``/etc/trainwatt.toml``. All other factors are looked up offline. If the environment or the file names another place
    than a setting of higher precedence, all of its settings are ignored.

    If both a zone and a cloud region are given, the region must lie in the zone. The zone determines grid and price,
    and the region PUE and WUE. Without a region, the defaults of PUE and WUE are those of a desktop, unless something
    shows that the machine stands in a data centre: see :meth:`on_hardware`.

    Args:
        zone: country (ISO 3166-1, two or three letters, or its name) or subdivision (ISO 3166-2). If no figure for a
            subdivision is known, the mean of its country is used, with a range over all known grids and a warning.
        cloud: cloud region, ``provider/region``.
        pue: power usage effectiveness, 1 to 5.
        wue: litres per kWh of IT energy, up to 20.
        tariff: price per kWh, in the local currency.
        carbon_intensity: gCO2e per kWh, 0 or from 1 to 2000; or a live source: one of :mod:`trainwatt.live`, or its
            short name, ``"electricitymaps"``, ``"gb"``, ``"dk"``, ``"dk1"`` or ``"dk2"``. The yearly mean is the
            fallback for times without live figures.
        market_intensity: gCO2e per kWh of the user's electricity contract, for market-based emissions alongside the
            location-based ones.
        environ: the environment variables.
        root: folder that contains ``etc`` and ``usr``.

    Attributes:
        zone: grid zone, e.g. ``FR``, ``US-CA``, or ``WORLD``.
        name: its name.
        cloud: cloud region, ``provider/region``, or None.
        origin: how the place was determined: ``given``, optionally with a variable or file, ``cloud environment:
            <variable>``, ``guessed from the time zone <name>``, or ``unknown: world average``.
        carbon_intensity: gCO2e per kWh of electricity.
        pue: power usage effectiveness: facility energy over IT energy.
        wue: litres of water that the facility uses per kWh of IT energy.
        ewif: litres of water used in generation per kWh of electricity.
        price: per kWh; None if unknown, so that no cost is invented.
        currency: ISO 4217 code of the price; empty if unknown.
        market: gCO2e per kWh by contract; None if the user gives none.
        live: live source of the carbon intensity, if any, else None.
        plug: energy at the plug over the energy that the devices report, as calibrated on this host; None if it was
            not calibrated.

    Raises:
        ArgumentError: names the argument, variable or key, the given value and the expected one.
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
    plug: Factor | None
    _root: Path | None = field(repr=False, compare=False)

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
        settings = merged([given, config.from_environment(environ), config.from_file(environ, root)])
        _set(self, **_known(settings, environ, root), _root=root)
        if self.zone not in tables.grids() and not (self.carbon_intensity.is_given or self.live):
            _warn_of_mean(self)

    @classmethod
    def resolve(cls, **arguments: Any) -> Site:
        """Construct a site; the same as calling the class."""
        return cls(**arguments)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """All factors of the site's footprints."""
        known = (self.carbon_intensity, self.market, self.plug, self.pue, self.wue, self.ewif, self.price)
        return tuple(factor for factor in known if factor is not None)

    def moved(self, zone: str) -> Site:
        """Return the same machine, with its own PUE and WUE, on another grid for a comparison.

        The price is left out if the two differ in source, basis or currency, and always if it is the user's tariff.

        Args:
            zone: as in :meth:`resolve`.

        Raises:
            ArgumentError: if the zone is unknown, or its carbon intensity has another source or basis.
        """
        there = _changed(self, **_known({"zone": Setting(zone, "zone")}, {}, Path("/")))
        here = self.static().carbon_intensity
        if not here.compares_with(there.carbon_intensity):
            kind = f"which is {here.source}" if here.is_given else f"{here.source}, {here.basis}"
            raise ArgumentError(
                "zone", zone, f"a zone whose carbon intensity compares with that of {self.zone} ({kind})"
            )
        price = there.price if self.price and there.price and self.price.compares_with(there.price) else None
        return _changed(
            there,
            plug=self.plug,
            pue=self.pue,
            wue=self.wue,
            price=price,
            currency=there.currency if price else "",
        )

    def calibrated(self, plug: Factor | None) -> Site:
        """Return the same site with the plug factor of this host.

        Args:
            plug: energy at the plug over the energy that the devices report; None if it was not calibrated.
        """
        return _changed(self, plug=plug)

    @property
    def is_given(self) -> bool:
        """True if the user has set the place: as an argument, by a variable, or in a file."""
        return self.origin.startswith("given")

    def contradiction(self, other: Site) -> Contradiction | None:
        """Return the first setting that the user has given for both sites with different values, else None.

        A guessed place and looked-up factors contradict nothing.
        """
        place = Place(self.zone, self.cloud, self.origin)
        if self.is_given and other.is_given and differ(place, Place(other.zone, other.cloud, other.origin)):
            argument, here = ("cloud", self.cloud) if self.cloud else ("zone", self.zone)
            return Contradiction(argument, here, f"{other.cloud or other.zone} ({other.origin})")
        for argument, name in _ARGUMENTS.items():
            one, two = getattr(self, name), getattr(other, name)
            if one and two and one.is_given and two.is_given and one.value != two.value:
                return Contradiction(argument, one.value, f"{two.value:g} ({two.source})")
        return None

    def with_arguments_of(self, other: Site) -> Site:
        """Return this place with the factors that were given as arguments of another site."""
        given = {name: getattr(other, name) for name in _ARGUMENTS.values()}
        changes = {name: factor for name, factor in given.items() if factor and factor.source == "given"}
        if "price" in changes:
            changes["currency"] = other.currency
        return _changed(self, **changes) if changes else self

    def on_hardware(self, gpus: Sequence[str], cpus: Sequence[str] = (), *, is_here: bool = True) -> Site:
        """Return the site with the default PUE and WUE of what the run runs on; those that are given or known stay.

        Data-centre GPUs, more than two GPUs, a batch job, a virtual machine and server hardware mean a data centre:
        an unknown one, unless the site has a cloud region.

        Args:
            gpus: product names of the GPUs, one per GPU.
            cpus: product names of the processors.
            is_here: True if the run runs on this machine, whose processors and system files count as well.
        """
        place, root = Place(self.zone, self.cloud, self.origin), self._root if is_here else None
        pue_is_own, wue_is_own = self.pue == grid_factors.pue(place), self.wue == grid_factors.wue(place)
        if self.cloud is not None or not (pue_is_own or wue_is_own):
            return self
        sign = premises.sign_of_gpus(gpus) or (premises.sign_of_machine(cpus, root) if root else "")
        if not sign:
            return self
        return _changed(
            self,
            pue=grid_factors.pue(place, sign) if pue_is_own else self.pue,
            wue=grid_factors.wue(place, sign) if wue_is_own else self.wue,
        )

    def static(self) -> Site:
        """Return the site for comparisons, with the yearly mean of its grid.

        It stands in for a live carbon intensity, and for a cloud provider's own figure, whose basis is another one.
        """
        place = Place(self.zone, self.cloud, self.origin)
        if self.live is None and self.carbon_intensity != grid_factors.carbon_intensity(place):
            return self
        return _changed(self, carbon_intensity=grid_factors.table_intensity(place), live=None)

    def metered(self, mean: Factor, share: float, problem: str) -> Site:
        """Return the same site with the carbon intensity of a run so far.

        Args:
            mean: carbon intensity, weighted by the run's energy.
            share: part of the energy with a live carbon intensity.
            problem: reason for missing new figures; empty if there is none.
        """
        return _changed(
            self, carbon_intensity=mean, live=self.live and self.live._replace(share=share, problem=problem)
        )

    def comparable_zones(self) -> tuple[str, ...]:
        """Return all zones, including this one, of the same source and basis of carbon intensity; not the world."""
        places = (Place(zone, None, "given") for zone in tables.grids() if zone != tables.WORLD)
        here = self.static().carbon_intensity
        return tuple(place.zone for place in places if here.compares_with(grid_factors.carbon_intensity(place)))

    def text(self) -> str:
        """Return the place, its carbon intensity and their sources in one line."""
        return site_text(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form, with every factor's source and year."""
        return {
            "zone": self.zone,
            "name": self.name,
            "cloud": self.cloud,
            "origin": self.origin,
            "currency": self.currency,
            "live": self.live and {"provider": self.live.name, "share": self.live.share, "problem": self.live.problem},
            "factors": {
                "carbon_intensity": self.carbon_intensity.to_dict(),
                "pue": self.pue.to_dict(),
                "wue": self.wue.to_dict(),
                "ewif": self.ewif.to_dict(),
                "price": self.price.to_dict() if self.price else None,
                "market_intensity": self.market.to_dict() if self.market else None,
                "plug": self.plug.to_dict() if self.plug else None,
            },
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Site:
        """Restore a site from :meth:`to_dict`; a live source is not queried again, but its figure is kept."""
        site, factors = cls.__new__(cls), {"plug": None, **state["factors"]}
        factors["market"] = factors.pop("market_intensity")
        known = {name: factor and Factor(**factor) for name, factor in factors.items()}
        plain = {name: state[name] for name in ("zone", "name", "cloud", "origin", "currency")}
        _set(site, **plain, **known, live=None, _root=None)
        return site


def site_text(site: Mapping[str, Any]) -> str:
    """Return :meth:`Site.text` from the output of :meth:`Site.to_dict`."""
    intensity, pue = site["factors"]["carbon_intensity"], site["factors"]["pue"]
    where = f"{site['name']}, {site['cloud']}" if site["cloud"] else site["name"]
    source = " ".join(filter(None, (intensity["source"], intensity["year"])))
    return f"{where} ({site['origin']}): {intensity['value']:.0f} gCO2e/kWh ({source}), PUE {pue['value']:.2f}"


def _changed(site: Site, **changes: Any) -> Site:
    changed = copy.copy(site)
    _set(changed, **changes)
    return changed


def _set(site: Site, **values: Any) -> None:
    # The dataclass is frozen for everyone else.
    for name, value in values.items():
        object.__setattr__(site, name, value)


def _known(settings: Layer, environ: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Return the attributes of a site from its settings."""
    source = _live(settings)
    place = place_of(settings) or _place_of(source, settings) or find_place(None, None, environ, root)
    live = source and _bound(source, place.zone, settings)
    price, currency = _price(place.zone, settings)
    sign = premises.sign_of_environment(environ)
    pue, wue = _given(settings, "pue", "PUE", _PUE), _given(settings, "wue", "WUE", _WUE)
    return {
        "zone": place.zone,
        "name": tables.zone_name(place.zone),
        "cloud": place.cloud,
        "origin": place.origin,
        "carbon_intensity": _intensity(place, settings, live),
        "pue": pue or grid_factors.pue(place, sign),
        "wue": wue or grid_factors.wue(place, sign),
        "ewif": grid_factors.water_of_the_grid(place.zone),
        "price": price,
        "currency": currency,
        "market": _given(settings, "market_intensity", "market-based carbon intensity", _INTENSITY),
        "live": live and Live(live.provider, live.name),
        "plug": None,
    }


def _live(settings: Layer) -> Source | None:
    """Return the requested live source; None if none is requested, or a user's own is broken."""
    asked = settings.get("carbon_intensity")
    if asked is None or isinstance(asked.value, (int, float)):
        return None
    try:
        # This reads the attributes, which may raise.
        if isinstance(asked.value, Provider):
            return Source.of(asked.value)
    except Exception as error:  # noqa: BLE001  # a user's own source may raise anything
        _warn_of_source(asked.value, error)
        return None
    # Rarely used.
    from trainwatt.live.sources import provider_named  # noqa: PLC0415

    token = settings.get("electricitymaps_token")
    try:
        return Source.of(provider_named(asked.value, token and token.value))
    except (ValueError, AttributeError) as error:
        expected = str(error) if isinstance(asked.value, str) else "a number of gCO2e/kWh, or a live source"
        raise ArgumentError(asked.label, asked.value, expected) from None


def _warn_of_source(provider: object, error: Exception) -> None:
    """Warn that a live source of the user's is broken, and that the static factor is used."""
    _log.warning(
        "trainwatt: no live carbon intensity from %s (%s): the static factor is used",
        type(provider).__name__,
        error_text(error),
    )


def _place_of(live: Source | None, settings: Layer) -> Place | None:
    """Return the country of a live source that covers a single one, as fallback if no place is given."""
    return Place(live.country, None, settings["carbon_intensity"].source) if live and live.country else None


def _bound(live: Source, zone: str, settings: Layer) -> Source | None:
    """Return the source for a zone; None if a user's own is broken."""
    asked = settings["carbon_intensity"]
    try:
        return Source.of(live.provider.at(zone))
    except ValueError as error:
        raise ArgumentError(asked.label, asked.value, str(error)) from None
    except Exception as error:  # noqa: BLE001  # a user's own source may raise anything
        _warn_of_source(live.provider, error)
        return None


def _intensity(place: Place, settings: Layer, live: Source | None) -> Factor:
    """Return the static carbon intensity, valid until a live source has figures."""
    asked = settings.get("carbon_intensity")
    is_number = asked is not None and isinstance(asked.value, (int, float))
    own = None if live or not is_number else _given(settings, "carbon_intensity", "carbon intensity", _INTENSITY)
    return own or grid_factors.carbon_intensity(place)


def _price(zone: str, settings: Layer) -> tuple[Factor | None, str]:
    """Return the price and its currency; a tariff is in local currency, which may differ from that of the table."""
    local = grid_factors.local_currency(zone)
    if given := _given(settings, "tariff", "price", _price_limits(local)):
        return given, local
    price = grid_factors.price(zone)
    return price, price.unit.partition("/")[0] if price else ""


def _price_limits(currency: str) -> Limits:
    """Return the plausible prices in a currency; all of at least 0 if the currency is unknown."""
    unit = f"{currency}/kWh"
    return Limits(0, _DEAREST_PER_KWH, unit, why="more is a price per MWh") if currency else Limits(0, unit=unit)


def _given(settings: Layer, key: str, name: str, limits: Limits) -> Factor | None:
    each = settings.get(key)
    return Factor.given(name, each.number(limits), limits.unit, each.source) if each else None


def _warn_of_mean(site: Site) -> None:
    """Warn that the carbon intensity of an area is that of its country."""
    factor = site.carbon_intensity
    _log.warning(
        "trainwatt: no carbon intensity of %s is known: the mean of %s is used, %.0f gCO2e/kWh (%.2g to %.4g, the "
        "range of all known grids). If you know the area's, give carbon_intensity= in gCO2e/kWh",
        site.zone,
        tables.grid(site.zone)["name"],
        factor.value,
        factor.low,
        factor.high,
    )
