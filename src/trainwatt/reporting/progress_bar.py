"""What a progress bar shows: the energy and its emissions so far, and those of the whole run once they are known."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import NamedTuple

from trainwatt.formatting import figures
from trainwatt.units import G_PER_KG, J_PER_KWH, WH_PER_KWH

_WIDE = 160  # columns, of which a bar with a metric or two takes 120
UNITS = ("J", "Wh", "kWh", "gCO2e", "kgCO2e")


class Shown(NamedTuple):
    """One figure of the bar.

    Attributes:
        unit: its name on the bar.
        value: so far.
        whole: of the whole run; None where that is not known.
        digits: how many of the value are shown.
    """

    unit: str
    value: float
    whole: float | None
    digits: int

    @property
    def text(self) -> str:
        """E.g. ``12.3``, or ``12.3 of 154``."""
        so_far = figures(self.value, self.digits)
        return so_far if self.whole is None else f"{so_far} of {figures(self.whole, self.digits)}"


def bar_figures(metrics: Mapping[str, float]) -> list[Shown]:
    """What to show of some metrics: energy, and in a terminal of 160 columns and more, emissions.

    Args:
        metrics: of a report, by name; those of which nothing is known are absent.
    """
    shown = []
    goes_on = metrics.get("projection/remaining_s", 1.0) > 0
    projected = metrics if goes_on else {}
    if (kwh := metrics.get("energy/total_kwh")) is not None:
        whole = projected.get("projection/total_kwh")
        factor, unit = _energy_unit(max(kwh, whole or 0.0))
        shown.append(Shown(unit, kwh * factor, None if whole is None else whole * factor, 3))
    kg = metrics.get("footprint/co2e_kg")
    if kg is not None and shutil.get_terminal_size().columns >= _WIDE:
        whole = projected.get("projection/co2e_kg")
        factor, unit = (G_PER_KG, "gCO2e") if max(kg, whole or 0.0) < 1 else (1.0, "kgCO2e")
        shown.append(Shown(unit, kg * factor, None if whole is None else whole * factor, 2))
    return shown


def bar_texts(metrics: Mapping[str, float]) -> dict[str, str]:
    """The same as texts by unit, e.g. ``{"Wh": "12.3 of 154", "gCO2e": "5.8 of 71"}``."""
    return {shown.unit: shown.text for shown in bar_figures(metrics)}


def _energy_unit(kwh: float) -> tuple[float, str]:
    if kwh * WH_PER_KWH < 0.1:
        return J_PER_KWH, "J"
    return (WH_PER_KWH, "Wh") if kwh < 1 else (1.0, "kWh")
