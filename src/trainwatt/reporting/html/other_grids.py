"""The same run on other grids, from what its summary tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import footprint, ranking
from trainwatt.quantity import Quantity
from trainwatt.site import Site, tables

_SHOWN = 13
_FAMILIAR = ("NO", "SE", "FR", "BR", "CA", "GB", "ES", "US", "DE", "JP", "CN", "PL", "AU", "IN", "ZA")


@dataclass(frozen=True)
class Places:
    """A run on many grids of one source and basis, least CO2e first.

    Attributes:
        own: the name of the one in which it ran.
        ranked: zone, name, kgCO2e and gCO2e/kWh of each.
        source: of the figures, and their basis.
    """

    own: str
    ranked: tuple[tuple[str, str, Quantity, float], ...]
    source: str

    def some(self) -> list[tuple[str, Quantity]]:
        """A few that many know, or evenly many of all, with its own among them."""
        zones, last = [zone for zone, *_ in self.ranked], len(self.ranked) - 1
        wanted = {zones.index(zone) for zone in _FAMILIAR if zone in zones}
        if len(wanted) < len(_FAMILIAR) // 2:
            wanted = {round(number * last / (_SHOWN - 1)) for number in range(_SHOWN)}
        wanted.add([name for _, name, *_ in self.ranked].index(self.own))
        return [(self.ranked[number][1], self.ranked[number][2]) for number in sorted(wanted)]


def places_of(summary: Mapping[str, Any]) -> Places | None:
    """Where else it could have run; None where its carbon intensity compares with no other place's.

    Args:
        summary: of a run folder.
    """
    told = summary.get("site")
    if not told or told["factors"]["carbon_intensity"]["source"].startswith("given"):
        return None
    try:
        pue, wue = (told["factors"][name]["value"] for name in ("pue", "wue"))
        site = Site(zone=told["zone"], pue=pue, wue=wue, environ={})
    except ArgumentError:  # a zone of another version
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
