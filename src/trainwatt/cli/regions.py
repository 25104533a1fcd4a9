"""``trainwatt regions``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trainwatt.cli.shared import add_site, command, kwh, show, site_of
from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import Footprint, footprint, ranking
from trainwatt.formatting import energy_text, mass_range_text, table
from trainwatt.quantity import Quantity
from trainwatt.site import Factor, Site, tables

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "regions",
        run,
        "rank other grids by what the same run would emit there, within one source and basis",
        "trainwatt regions --energy 3.2kWh --zone FR --to PL DE",
    )
    parser.add_argument("--energy", type=kwh, required=True, help="energy of the machines, such as 3.2kWh")
    parser.add_argument("--to", nargs="+", metavar="ZONE", help="show only these zones")
    add_site(parser)


def run(options: argparse.Namespace) -> int:
    """Rank the grids, lowest CO2e first."""
    site = site_of(options).static()
    if site.carbon_intensity.is_given:
        value = site.carbon_intensity.value
        raise ArgumentError("carbon_intensity", value, "no custom value, which cannot be compared with other grids")
    if not site.comparable_zones():
        raise ArgumentError("zone", site.zone, f"a zone with a figure of its own, unlike {site.name}")
    here = footprint(Quantity(options.energy, options.energy, options.energy), site)
    wanted = None if options.to is None else {site.moved(zone).zone for zone in options.to}
    ranked = [(zone, there) for zone, there in ranking(here, site) if wanted is None or zone in wanted]
    return show(options, _text(site, here, ranked), _state(site, here, ranked))


def _text(site: Site, here: Footprint, ranked: Sequence[tuple[str, Footprint]]) -> str:
    emitted = mass_range_text(here.co2e_kg)
    intensity = site.carbon_intensity
    return "\n\n".join(
        [
            f"{energy_text(here.energy_kwh.central)} in {site.text()}:\n{emitted} CO2e. The same run on other grids:",
            table(_rows(here, ranked)),
            f"Source: {intensity.source}; {intensity.basis}.\nMachine, PUE and embodied emissions are unchanged.",
        ]
    )


def _rows(here: Footprint, ranked: Sequence[tuple[str, Footprint]]) -> Iterator[Sequence[str]]:
    yield "zone", "CO2e", "times as much", "gCO2e/kWh", "year", "name"
    for zone, there in ranked:
        factor, name = _intensity(there), tables.grids()[zone]["name"]
        yield zone, mass_range_text(there.co2e_kg), _times(here, there), f"{factor.value:.0f}", factor.year, name


def _state(site: Site, here: Footprint, ranked: Sequence[tuple[str, Footprint]]) -> dict[str, Any]:
    regions = [
        {
            "zone": zone,
            "name": tables.grids()[zone]["name"],
            "co2e_kg": there.co2e_kg.to_dict(),
            "times": _ratio(here, there),
            "factor": _intensity(there).to_dict(),
        }
        for zone, there in ranked
    ]
    return {
        "energy_kwh": here.energy_kwh.central,
        "site": site.to_dict(),
        "co2e_kg": here.co2e_kg.to_dict(),
        "regions": regions,
    }


def _ratio(here: Footprint, there: Footprint) -> float | None:
    return there.co2e_kg.central / here.co2e_kg.central if here.co2e_kg.central else None


def _times(here: Footprint, there: Footprint) -> str:
    ratio = _ratio(here, there)
    return "" if ratio is None else f"{float(f'{ratio:.2g}'):g}"


def _intensity(there: Footprint) -> Factor:
    return next(factor for factor in there.factors if factor.name == "carbon intensity")
