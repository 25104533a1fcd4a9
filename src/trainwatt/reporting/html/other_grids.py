"""Emissions of the same run on other grids, from its summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.export import facts
from trainwatt.footprint.footprint import footprint, ranking
from trainwatt.quantity import Quantity
from trainwatt.site import Factor, Site, tables

_SHOWN = 13
_FAMILIAR = ("NO", "SE", "FR", "BR", "CA", "GB", "ES", "US", "DE", "JP", "CN", "PL", "AU", "IN", "ZA")


@dataclass(frozen=True)
class Places:
    """Emissions of a run on all grids of one source and basis, lowest CO2e first.

    Attributes:
        own: name of the grid on which it ran.
        ranked: zone, name, kgCO2e and gCO2e/kWh of each grid.
        source: source and basis of the carbon intensities.
    """

    own: str
    ranked: tuple[tuple[str, str, Quantity, float], ...]
    source: str

    def some(self) -> list[tuple[str, Quantity]]:
        """Select well-known grids, or an even sample if there are few of those. The run's own grid is included."""
        zones, last = [zone for zone, *_ in self.ranked], len(self.ranked) - 1
        wanted = {zones.index(zone) for zone in _FAMILIAR if zone in zones}
        if len(wanted) < len(_FAMILIAR) // 2:
            wanted = {round(number * last / (_SHOWN - 1)) for number in range(_SHOWN)}
        wanted.add([name for _, name, *_ in self.ranked].index(self.own))
        return [(self.ranked[number][1], self.ranked[number][2]) for number in sorted(wanted)]


def places_of(summary: Mapping[str, Any]) -> Places | None:
    """Compute the emissions of a run on other grids.

    Args:
        summary: of the run.

    Returns:
        The ranking, or None if the carbon intensity of the run cannot be compared with other grids.
    """
    recorded = summary.get("site")
    if not recorded or recorded["factors"]["carbon_intensity"]["source"].startswith("given"):
        return None
    if recorded["zone"] not in tables.grids() or facts.elsewhere_text(summary):
        # The mean of a country, for an area without a figure: compared with others it would mislead. Neither does a run
        # of several places have a place of its own to compare with.
        return None
    try:
        pue, wue = (recorded["factors"][name]["value"] for name in ("pue", "wue"))
        plug = recorded["factors"].get("plug")
        site = Site(zone=recorded["zone"], pue=pue, wue=wue, environ={}).calibrated(plug and Factor(**plug))
    except ArgumentError:
        # The summary was written by a version with other zones.
        return None
    kwh = Quantity(summary["total_kwh_low"], summary["total_kwh"], summary["total_kwh_high"])
    grids = tables.grids()
    ranked = tuple(
        (zone, grids[zone]["name"], there.co2e_kg, _intensity(there.factors))
        for zone, there in ranking(footprint(kwh, site), site)
    )
    own = grids[site.zone]["name"]
    intensity = site.carbon_intensity
    if site.zone not in {zone for zone, *_ in ranked}:
        ranked = _with_own(ranked, site.zone, own, footprint(kwh, site).co2e_kg, intensity.value)
    return Places(own, ranked, f"{intensity.source}; {intensity.basis}")


def _with_own(
    ranked: tuple[tuple[str, str, Quantity, float], ...], zone: str, name: str, kg: Quantity, intensity: float
) -> tuple[tuple[str, str, Quantity, float], ...]:
    return tuple(sorted([*ranked, (zone, name, kg, intensity)], key=lambda each: each[2].central))


def _intensity(factors: Any) -> float:
    return float(next(factor.value for factor in factors if factor.name == "carbon intensity"))
