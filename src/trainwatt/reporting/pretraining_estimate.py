"""What a training is going to take, before it: hours times hardware times region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import Footprint, footprint
from trainwatt.formatting import energy_range_text
from trainwatt.quantity import Quantity
from trainwatt.records.summary_view import footprint_text
from trainwatt.site import Factor, Site
from trainwatt.site.hardware import board_power, hardware_of
from trainwatt.units import WH_PER_KWH

# What a board draws of its limit, with its share of the machine around it. In the middle the limit itself, as the ML
# CO2 Impact calculator takes it (Lacoste et al. 2019). At most a whole server: NVIDIA's DGX H100 takes up to 10.2 kW
# for eight boards of 700 W. At least a board that waits for its data most of the time: an assumption.
LOAD = Factor("power of a GPU and its share of the machine, of the limit", 1.0, 0.4, 1.82, "", "ML CO2 Impact", "2019")


@dataclass(frozen=True)
class Estimate:
    """An estimate before anything was measured.

    Attributes:
        gpu: the board that was taken.
        count: how many.
        hours: for how long.
        power: watts of one.
        load: what is drawn of that.
        footprint: what it means at the site.
        site: where.
    """

    gpu: str
    count: int
    hours: float
    power: Factor
    load: Factor
    footprint: Footprint
    site: Site

    def text(self) -> str:
        """The estimate, and how wide its range is."""
        energy = self.footprint.energy_kwh
        wide = f"{energy.high / energy.low:.1f}" if energy.low else "any number of"
        doubt = f" ({self.power.note})" if self.power.note else ""
        return (
            f"{self.count} x {self.gpu}{doubt} for {self.hours:g} h: {energy_range_text(energy)}\n"
            f"{footprint_text(self.footprint.to_dict(), self.site.to_dict())}\n"
            f"  {self.power.text()}\n  {self.load.text()}\n"
            f"An estimate before anything was measured: high and low differ {wide}-fold in energy alone.\n"
            f"Measure a few minutes of the training to know better."
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        return {
            "gpu": self.gpu,
            "count": self.count,
            "hours": self.hours,
            "energy_kwh": self.footprint.energy_kwh.to_dict(),
            "footprint": self.footprint.to_dict(),
            "site": self.site.to_dict(),
            "assumptions": [self.power.to_dict(), self.load.to_dict()],
        }


def estimate(gpu: str, count: int, hours: float, site: Site, *, watts: float | None = None) -> Estimate:
    """Energy and footprint of a training on some GPUs.

    Args:
        gpu: its model, such as ``H100``.
        count: how many.
        hours: for how long.
        site: where.
        watts: mean power of one with its share of the machine; None: its power limit, with a wide range.

    Raises:
        ArgumentError: an unknown model, or a count, time or power that is not above 0.
    """
    for name, value in (("count", count), ("hours", hours), ("watts", 1 if watts is None else watts)):
        if not value > 0:
            raise ArgumentError(name, value, "above 0")
    power = board_power(gpu) if watts is None else Factor.given("power of a GPU", watts, "W")
    load = LOAD if watts is None else Factor.given("load", 1.0, "")
    model = power.name.removeprefix("power limit of ") if watts is None else gpu
    device_hours = Quantity(count * hours, count * hours, count * hours)
    energy = device_hours.times(power, load).scaled(1 / WH_PER_KWH)
    figures = footprint(energy, site, hours=hours, embodied=hardware_of([model] * count))
    return Estimate(model, count, hours, power, load, figures, site)
