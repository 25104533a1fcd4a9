"""CO2e, water and cost of energy at a site, each with its range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from trainwatt.errors import ArgumentError
from trainwatt.quantity import Quantity
from trainwatt.site import Factor, Site
from trainwatt.site.hardware import GPUS_PER_CHASSIS, Hardware
from trainwatt.units import G_PER_KG, H_PER_YEAR

PLUG = "plug factor"
"""Name of the factor from the energy that the devices report to that at the plug."""


class _Central(NamedTuple):
    """A figure without its range."""

    central: float

    def times(self, *factors: Factor) -> _Central:
        """Multiply by factors."""
        return _Central(self.central * math.prod([factor.value for factor in factors]))

    def scaled(self, by: float) -> _Central:
        """Multiply by a number."""
        return _Central(self.central * by)

    def plus(self, other: _Central) -> _Central:
        """Add a figure."""
        return _Central(self.central + other.central)


A = TypeVar("A", Quantity, _Central)


class CentralFigures(NamedTuple):
    """Footprint of energy at a site, without ranges.

    Attributes:
        co2e_kg: operational emissions, location-based.
        water_l: water of the facility and of electricity generation.
        cost: None if no price is known.
    """

    co2e_kg: float
    water_l: float
    cost: float | None


@dataclass(frozen=True, slots=True)
class Footprint:
    """Footprint of energy at a site.

    Attributes:
        energy_kwh: energy of the IT equipment, as its devices report it.
        facility_kwh: the same at the plug, if that was calibrated, with the overhead of the facility.
        co2e_kg: operational emissions, location-based.
        water_l: water of the facility and of electricity generation.
        cost: None if no price is known.
        currency: ISO 4217 code of the cost; empty if unknown.
        market_kg: market-based emissions, from the user's electricity contract; None if the user gives none.
        embodied_kg: the run's share of the embodied emissions of its hardware, kgCO2e; None if not requested.
        factors: all factors used, each with its source.
        plug_kwh: energy of the IT equipment at the plug; None unless that was calibrated.
    """

    energy_kwh: Quantity
    facility_kwh: Quantity
    co2e_kg: Quantity
    water_l: Quantity
    cost: Quantity | None
    currency: str
    market_kg: Quantity | None
    embodied_kg: Quantity | None
    factors: tuple[Factor, ...]
    plug_kwh: Quantity | None = None

    def derivation(self) -> dict[str, tuple[str, ...]]:
        """Map each known figure to the names of the factors that it was computed from."""
        hardware = tuple(factor.name for factor in self.factors if factor.unit == "kgCO2e")
        plug = tuple(factor.name for factor in self.factors if factor.name == PLUG)
        behind = {
            "plug_kwh": plug,
            "facility_kwh": (*plug, "PUE"),
            "co2e_kg": (*plug, "PUE", "carbon intensity"),
            "market_kg": (*plug, "PUE", "market-based carbon intensity"),
            "water_l": (*plug, "WUE", "PUE", "water of the grid"),
            "cost": (*plug, "PUE", "price"),
            "embodied_kg": hardware,
        }
        return {name: factors for name, factors in behind.items() if getattr(self, name) is not None}

    def plus(self, other: Footprint) -> Footprint:
        """Add the footprint of another part of the same run, which may have run elsewhere.

        All ranges add up. Parts at one place share the errors of its factors; for parts at different places, whose
        errors are independent, the range is at most too wide. Costs in two currencies do not add up, and neither does
        a known figure with an unknown one: the sum is None. Embodied emissions that are None are those of no GPU.
        """
        same_currency = self.currency == other.currency
        embodied = [each for each in (self.embodied_kg, other.embodied_kg) if each is not None]
        return Footprint(
            energy_kwh=self.energy_kwh.plus(other.energy_kwh),
            facility_kwh=self.facility_kwh.plus(other.facility_kwh),
            co2e_kg=self.co2e_kg.plus(other.co2e_kg),
            water_l=self.water_l.plus(other.water_l),
            cost=_sum(self.cost, other.cost) if same_currency else None,
            currency=self.currency if same_currency else "",
            market_kg=_sum(self.market_kg, other.market_kg),
            embodied_kg=_sum(*embodied) if len(embodied) == 2 else next(iter(embodied), None),
            factors=tuple(dict.fromkeys((*self.factors, *other.factors))),
            plug_kwh=_sum(self.plug_kwh, other.plug_kwh),
        )

    def figures(self) -> dict[str, Any]:
        """Return the figures without the factors, JSON-able; see :meth:`from_figures`."""
        known = {name: value for name, value in self.to_dict().items() if name not in ("factors", "derivation")}
        return {"energy_kwh": self.energy_kwh.to_dict(), **known}

    @classmethod
    def from_figures(cls, figures: Mapping[str, Any], factors: Sequence[Factor] = ()) -> Footprint:
        """Restore a footprint from :meth:`figures`.

        Args:
            figures: the figures.
            factors: the factors behind them.

        Raises:
            KeyError, TypeError, ArgumentError: if the figures are not valid.
        """
        # Older versions had no energy at the plug.
        known = {
            name: each and Quantity(**each) for name, each in {"plug_kwh": None, **figures}.items() if name in _FIGURES
        }
        return cls(**known, currency=figures["currency"] or "", factors=tuple(factors))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "plug_kwh": self.plug_kwh.to_dict() if self.plug_kwh else None,
            "facility_kwh": self.facility_kwh.to_dict(),
            "co2e_kg": self.co2e_kg.to_dict(),
            "market_kg": self.market_kg.to_dict() if self.market_kg else None,
            "embodied_kg": self.embodied_kg.to_dict() if self.embodied_kg else None,
            "water_l": self.water_l.to_dict(),
            "cost": self.cost.to_dict() if self.cost else None,
            "currency": self.currency if self.cost else None,
            "factors": [factor.to_dict() for factor in self.factors],
            "derivation": {name: list(parts) for name, parts in self.derivation().items()},
        }


_FIGURES = ("energy_kwh", "plug_kwh", "facility_kwh", "co2e_kg", "water_l", "cost", "market_kg", "embodied_kg")


def _sum(one: Quantity | None, other: Quantity | None) -> Quantity | None:
    return None if one is None or other is None else one.plus(other)


def footprint(
    energy_kwh: Quantity, site: Site, *, hours: float | None = None, embodied: Sequence[Hardware] = ()
) -> Footprint:
    """Return the footprint of IT energy.

    ``E_IT = E_read * plug``; ``E_facility = E_IT * PUE``; ``CO2e = E_facility * CI``; ``water = E_IT * (WUE + PUE *
    EWIF)``; ``cost = E_facility * price``. The plug factor is 1 if this host was not calibrated. Sources: The Green
    Grid for PUE and WUE; Greenhouse Gas Protocol, scope 2, location-based, and market-based if a contract's carbon
    intensity is given.

    Args:
        energy_kwh: energy of the IT equipment, kWh, as its devices report it.
        site: the place where it is used.
        hours: duration for which the hardware was held; required with ``embodied``.
        embodied: the hardware that was held; empty means no embodied emissions.

    Raises:
        ArgumentError: if hardware is given without hours, or hours are negative.
    """
    return Footprint(
        energy_kwh=energy_kwh,
        facility_kwh=energy_kwh.times(*_chain(site)),
        co2e_kg=_co2e_kg(energy_kwh, site),
        water_l=_water_l(energy_kwh, site),
        cost=_cost(energy_kwh, site),
        currency=site.currency,
        market_kg=energy_kwh.times(*_chain(site), site.market).scaled(1 / G_PER_KG) if site.market else None,
        embodied_kg=embodied_kg(embodied, hours) if embodied else None,
        factors=(*site.factors, *(factor for hardware in embodied for factor in hardware.factors)),
        plug_kwh=energy_kwh.times(site.plug) if site.plug else None,
    )


def central_figures(kwh: float, site: Site, before: Footprint | None = None) -> CentralFigures:
    """Return the footprint of energy at a site without ranges: a tenth of the work, for frequent logging.

    Args:
        kwh: energy of the IT equipment.
        site: the place where it is used.
        before: footprint of earlier attempts of the run, which is added.
    """
    energy = _Central(kwh)
    co2e, water, cost = _co2e_kg(energy, site), _water_l(energy, site), _cost(energy, site)
    if before is not None:
        co2e, water = co2e.plus(_Central(before.co2e_kg.central)), water.plus(_Central(before.water_l.central))
        priced = before.cost if before.currency == site.currency else None
        cost = cost.plus(_Central(priced.central)) if cost is not None and priced is not None else None
    return CentralFigures(co2e.central, water.central, cost.central if cost is not None else None)


def _at_plug(site: Site) -> tuple[Factor, ...]:
    """Return the factor from the energy that the devices report to that of the IT equipment, if it was calibrated."""
    return (site.plug,) if site.plug else ()


def _chain(site: Site) -> tuple[Factor, ...]:
    """Return the factors from the energy that the devices report to that of the facility."""
    return (*_at_plug(site), site.pue)


def _co2e_kg(energy_kwh: A, site: Site) -> A:
    return energy_kwh.times(*_chain(site), site.carbon_intensity).scaled(1 / G_PER_KG)


def _water_l(energy_kwh: A, site: Site) -> A:
    return energy_kwh.times(*_at_plug(site), site.wue).plus(energy_kwh.times(*_chain(site), site.ewif))


def _cost(energy_kwh: A, site: Site) -> A | None:
    return energy_kwh.times(*_chain(site), site.price) if site.price else None


def embodied_kg(embodied: Sequence[Hardware], hours: float | None) -> Quantity:
    """Return a run's share of the embodied emissions of its hardware, in kgCO2e.

    ``sum of n * (M_device + M_chassis / 8) * hours / (lifetime_years * 8760 * utilisation)`` (Luccioni et al. 2023,
    "Estimating the Carbon Footprint of BLOOM", section 4.1). Errors of one source's masses are correlated, so their
    ranges add up.

    Args:
        embodied: the hardware that was held.
        hours: duration for which it was held.

    Raises:
        ArgumentError: if hours are missing or negative.
    """
    if hours is None or not 0 <= hours < math.inf:
        raise ArgumentError("hours", hours, "how many hours the hardware was held, at least 0")
    total = Quantity(0.0, 0.0, 0.0)
    for hardware in embodied:
        share = hardware.count * hours / (hardware.lifetime_years * H_PER_YEAR * hardware.utilisation)
        total = total.plus(_mass(hardware.device).scaled(share))
        if hardware.chassis:
            total = total.plus(_mass(hardware.chassis).scaled(share / GPUS_PER_CHASSIS))
    return total


def elsewhere(here: Footprint, site: Site, zone: str) -> Footprint:
    """Return the footprint of the same run on another grid; its embodied emissions stay the same.

    The CO2e is ``CI_there / CI_here`` times that of the run at its site.

    Args:
        here: footprint of the run at its site.
        site: the site of the run.
        zone: the other grid. Its source and basis must be the same: figures of two bases are never compared.

    Returns:
        The footprint with the ranges of the other grid. It has no cost if the two prices do not compare, and no
            market-based emissions, because a contract is for one place.

    Raises:
        ArgumentError: if the zone is unknown, or its carbon intensity does not compare with the site's own.
    """
    there = site.moved(zone)
    hardware = tuple(factor for factor in here.factors if factor not in site.factors)
    moved = footprint(here.energy_kwh, there)
    return replace(moved, embodied_kg=here.embodied_kg, factors=(*there.factors, *hardware))


def ranking(here: Footprint, site: Site) -> list[tuple[str, Footprint]]:
    """Return the footprints of the same run on all comparable grids, including its own, lowest CO2e first.

    All use the yearly means of the grids, even if the run itself uses hourly figures.
    """
    moved = ((zone, elsewhere(here, site, zone)) for zone in site.comparable_zones())
    return sorted(moved, key=lambda pair: pair[1].co2e_kg.central)


def _mass(factor: Factor) -> Quantity:
    return Quantity(factor.low, factor.value, factor.high)
