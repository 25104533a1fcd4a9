"""Software Carbon Intensity, ISO/IEC 21031:2024: ``SCI = (E * I + M) / R``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.export import facts
from trainwatt.formatting import mass_range_text
from trainwatt.quantity import Part, Quantity, summed
from trainwatt.units import G_PER_KG


@dataclass(frozen=True)
class Score:
    """SCI score and its terms.

    Attributes:
        g_per_unit: gCO2e per unit.
        unit: functional unit, e.g. ``token``.
        units: R, the number of units.
        operational_kg: ``E * I`` in kgCO2e, location-based; E includes the facility's overhead.
        embodied_kg: M in kgCO2e; None if unknown, in which case the score excludes it.
    """

    g_per_unit: Quantity
    unit: str
    units: float
    operational_kg: Quantity
    embodied_kg: Quantity | None

    def text(self) -> str:
        """Format the score, with one line for each term."""
        embodied = "unknown, left out" if self.embodied_kg is None else mass_range_text(self.embodied_kg)
        score = mass_range_text(self.g_per_unit.scaled(1 / G_PER_KG))
        return (
            f"SCI {score} CO2e per {self.unit} (ISO/IEC 21031)\n"
            f"  E * I: {mass_range_text(self.operational_kg)}, location-based\n"
            f"  M: {embodied}\n"
            f"  R: {self.units:.6g} {self.unit}s"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable form."""
        return {
            "sci_g": self.g_per_unit.to_dict(),
            "unit": self.unit,
            "units": self.units,
            "operational_kg": self.operational_kg.to_dict(),
            "embodied_kg": self.embodied_kg.to_dict() if self.embodied_kg else None,
        }


def sci(
    summary: Mapping[str, Any], unit: str = "epoch", units: float | None = None, embodied_kg: float | None = None
) -> Score:
    """Compute the Software Carbon Intensity of a run.

    Args:
        summary: of the run.
        unit: functional unit. The summary counts ``"epoch"`` and ``"step"`` of training and ``"sample"`` of
            evaluation; any other unit, such as ``"token"``, needs ``units``.
        units: number of units in the run; None to take it from the summary.
        embodied_kg: the run's share of the embodied emissions of its hardware in kgCO2e; None to take it from the
            summary.

    Raises:
        ArgumentError: the number of units is unknown or not above 0, or ``embodied_kg`` is negative.
    """
    steps = summary["phases"].get("train", {}).get("steps", 0)
    counted = {"epoch": summary["epochs"], "step": steps, "sample": summary.get("samples") or 0}
    count = counted.get(unit, 0) if units is None else units
    if not count > 0:
        why = f"the number of {unit}s in the run, above 0" + ("; its summary counts none" if unit in counted else "")
        raise ArgumentError("units", units, why)
    if embodied_kg is not None and not embodied_kg >= 0:
        raise ArgumentError("embodied_kg", embodied_kg, "at least 0 kgCO2e")
    operational = facts.co2e_kg(summary)
    own = None if embodied_kg is None else Quantity(embodied_kg, embodied_kg, embodied_kg)
    embodied = own or facts.quantity(summary["footprint"]["embodied_kg"])
    terms = [Part(operational, "operational"), *([Part(embodied, "embodied")] if embodied else [])]
    whole = summed(terms)
    return Score(whole.scaled(G_PER_KG / count), unit, float(count), operational, embodied)
