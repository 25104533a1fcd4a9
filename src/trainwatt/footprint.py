"""From energy and a site to CO2e, water and cost, each with its range."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trainwatt.site import Factor, Site
from trainwatt.units import G_PER_KG


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure with its range: ``low <= central <= high``."""

    low: float
    central: float
    high: float

    def times(self, *factors: Factor) -> Quantity:
        """The product with some factors, whose relative errors are independent: their logarithms add up in quadrature.

        ``ln(high / central) = sqrt(sum of ln(high_i / central_i)^2)``, and likewise below.
        """
        central = self.central * math.prod(factor.value for factor in factors)
        if central <= 0:
            return Quantity(0.0, 0.0, 0.0)
        bounds = [(self.low / self.central, self.high / self.central)]
        bounds += [(factor.low / factor.value, factor.high / factor.value) for factor in factors]
        low = math.exp(-_quadrature(low for low, _ in bounds))
        return Quantity(central * low, central, central * math.exp(_quadrature(high for _, high in bounds)))

    def plus(self, other: Quantity) -> Quantity:
        """The sum with a quantity that is wrong in the same direction."""
        return Quantity(self.low + other.low, self.central + other.central, self.high + other.high)

    def to_dict(self) -> dict[str, float]:
        """A JSON-able form."""
        return {"low": self.low, "central": self.central, "high": self.high}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What some energy means at a site.

    Attributes:
        facility_kwh: energy of the IT with the facility's overhead.
        co2e_kg: operational, location-based.
        water_l: of the facility and of the electricity's generation.
        cost: None where no price is known.
        currency: of the cost.
    """

    facility_kwh: Quantity
    co2e_kg: Quantity
    water_l: Quantity
    cost: Quantity | None
    currency: str

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        return {
            "facility_kwh": self.facility_kwh.to_dict(),
            "co2e_kg": self.co2e_kg.to_dict(),
            "water_l": self.water_l.to_dict(),
            "cost": self.cost.to_dict() if self.cost else None,
            "currency": self.currency if self.cost else None,
        }


def footprint(energy_kwh: Quantity, site: Site) -> Footprint:
    """The operational footprint of some IT energy.

    ``E_facility = E_IT * PUE``; ``CO2e = E_facility * CI``; ``water = E_IT * (WUE + PUE * EWIF)``;
    ``cost = E_facility * price`` (The Green Grid for PUE and WUE; Greenhouse Gas Protocol, scope 2, location-based).

    Args:
        energy_kwh: energy of the IT, kWh.
        site: where it is used.
    """
    grams = energy_kwh.times(site.pue, site.carbon_intensity)
    return Footprint(
        facility_kwh=energy_kwh.times(site.pue),
        co2e_kg=Quantity(grams.low / G_PER_KG, grams.central / G_PER_KG, grams.high / G_PER_KG),
        water_l=energy_kwh.times(site.wue).plus(energy_kwh.times(site.pue, site.ewif)),
        cost=energy_kwh.times(site.pue, site.price) if site.price else None,
        currency=site.currency,
    )


def _quadrature(ratios: Iterable[float]) -> float:
    return math.sqrt(sum(math.log(ratio) ** 2 if ratio > 0 else math.inf for ratio in ratios))
