"""CO2e, water and cost of energy at a site, each with its range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from trainwatt.errors import ArgumentError
from trainwatt.quantity import Quantity
from trainwatt.site import Factor, Site
from trainwatt.site.hardware import GPUS_PER_CHASSIS, Hardware
from trainwatt.units import G_PER_KG, H_PER_YEAR


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
        energy_kwh: energy of the IT equipment.
        facility_kwh: the same with the overhead of the facility.
        co2e_kg: operational emissions, location-based.
        water_l: water of the facility and of electricity generation.
        cost: None if no price is known.
        currency: ISO 4217 code of the cost; empty if unknown.
        market_kg: market-based emissions, from the user's electricity contract; None if the user gives none.
        embodied_kg: the run's share of the embodied emissions of its hardware, kgCO2e; None if not requested.
        factors: all factors used, each with its source.
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

    def derivation(self) -> dict[str, tuple[str, ...]]:
        """Map each known figure to the names of the factors that it was computed from."""
        hardware = tuple(factor.name for factor in self.factors if factor.unit == "kgCO2e")
        behind = {
            "facility_kwh": ("PUE",),
            "co2e_kg": ("PUE", "carbon intensity"),
            "market_kg": ("PUE", "market-based carbon intensity"),
            "water_l": ("WUE", "PUE", "water of the grid"),
            "cost": ("PUE", "price"),
            "embodied_kg": hardware,
        }
        return {name: factors for name, factors in behind.items() if getattr(self, name) is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
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


def footprint(
    energy_kwh: Quantity, site: Site, *, hours: float | None = None, embodied: Sequence[Hardware] = ()
) -> Footprint:
    """Return the footprint of IT energy.

    ``E_facility = E_IT * PUE``; ``CO2e = E_facility * CI``; ``water = E_IT * (WUE + PUE * EWIF)``; ``cost = E_facility
    * price``. Sources: The Green Grid for PUE and WUE; Greenhouse Gas Protocol, scope 2, location-based, and
    market-based if a contract's carbon intensity is given.

    Args:
        energy_kwh: energy of the IT equipment, kWh.
        site: the place where it is used.
        hours: duration for which the hardware was held; required with ``embodied``.
        embodied: the hardware that was held; empty means no embodied emissions.

    Raises:
        ArgumentError: if hardware is given without hours, or hours are negative.
    """
    return Footprint(
        energy_kwh=energy_kwh,
        facility_kwh=energy_kwh.times(site.pue),
        co2e_kg=_co2e_kg(energy_kwh, site),
        water_l=_water_l(energy_kwh, site),
        cost=_cost(energy_kwh, site),
        currency=site.currency,
        market_kg=energy_kwh.times(site.pue, site.market).scaled(1 / G_PER_KG) if site.market else None,
        embodied_kg=embodied_kg(embodied, hours) if embodied else None,
        factors=(*site.factors, *(factor for hardware in embodied for factor in hardware.factors)),
    )


def central_figures(kwh: float, site: Site) -> CentralFigures:
    """Return the footprint of energy at a site without ranges: a tenth of the work, for frequent logging.

    Args:
        kwh: energy of the IT equipment.
        site: the place where it is used.
    """
    energy = _Central(kwh)
    cost = _cost(energy, site)
    return CentralFigures(
        _co2e_kg(energy, site).central, _water_l(energy, site).central, cost.central if cost is not None else None
    )


def _co2e_kg(energy_kwh: A, site: Site) -> A:
    return energy_kwh.times(site.pue, site.carbon_intensity).scaled(1 / G_PER_KG)


def _water_l(energy_kwh: A, site: Site) -> A:
    return energy_kwh.times(site.wue).plus(energy_kwh.times(site.pue, site.ewif))


def _cost(energy_kwh: A, site: Site) -> A | None:
    return energy_kwh.times(site.pue, site.price) if site.price else None


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
