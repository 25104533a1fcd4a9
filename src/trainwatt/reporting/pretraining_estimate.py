"""Estimate of a training run before it starts, from hours, hardware and region."""

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

# Power of a GPU including its share of the machine, relative to the GPU's power limit.
# Central value: the limit itself, as in the ML CO2 Impact calculator (Lacoste et al. 2019).
# High: a whole server. NVIDIA's DGX H100 draws up to 10.2 kW for eight GPUs of 700 W.
# Low: an assumption for a GPU that waits for data most of the time.
LOAD = Factor(
    "power of a GPU and its share of the machine, relative to the limit", 1.0, 0.4, 1.82, "", "ML CO2 Impact", "2019"
)


@dataclass(frozen=True)
class Estimate:
    """Estimate of a training run before any measurement.

    Attributes:
        gpu: GPU model.
        count: number of GPUs.
        hours: duration.
        power: power of one GPU, in watts.
        load: mean power relative to ``power``.
        footprint: energy, emissions, water and cost at the site.
        site: location of the run.
    """

    gpu: str
    count: int
    hours: float
    power: Factor
    load: Factor
    footprint: Footprint
    site: Site

    def text(self) -> str:
        """Format the estimate, with the width of its range."""
        energy = self.footprint.energy_kwh
        width = f"a factor of {energy.high / energy.low:.1f}" if energy.low else "an unknown factor"
        note = f" ({self.power.note})" if self.power.note else ""
        return (
            f"{self.count} x {self.gpu}{note} for {self.hours:g} h: {energy_range_text(energy)}\n"
            f"{footprint_text(self.footprint.to_dict(), self.site.to_dict())}\n"
            f"  {self.power.text()}\n  {self.load.text()}\n"
            f"Estimate before any measurement: high and low differ by {width} in energy alone.\n"
            "For a better estimate, measure a few minutes of the training run."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable form."""
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
    """Estimate energy and footprint of a training run on GPUs.

    Args:
        gpu: GPU model, such as ``H100``.
        count: number of GPUs.
        hours: duration.
        site: location of the run. Without a PUE or a cloud region, its PUE is that of an unknown data centre for
            data-centre GPUs and for more than two GPUs, else that of a desktop.
        watts: mean power of one GPU including its share of the machine. If None, its power limit is used, with a wide
            range.

    Raises:
        ArgumentError: the model is unknown, or count, hours or watts are not above 0.
    """
    for name, value in (("count", count), ("hours", hours), ("watts", 1 if watts is None else watts)):
        if not value > 0:
            raise ArgumentError(name, value, "above 0")
    power = board_power(gpu) if watts is None else Factor.given("power of a GPU", watts, "W")
    load = LOAD if watts is None else Factor.given("load", 1.0, "")
    model = power.name.removeprefix("power limit of ") if watts is None else gpu
    device_hours = Quantity(count * hours, count * hours, count * hours)
    energy = device_hours.times(power, load).scaled(1 / WH_PER_KWH)
    site = site.on_hardware([model] * count, is_here=False)
    figures = footprint(energy, site, hours=hours, embodied=hardware_of([(model, count)]))
    return Estimate(model, count, hours, power, load, figures, site)
