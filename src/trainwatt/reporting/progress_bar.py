"""Figures for a progress bar: energy and emissions so far, and those projected for the whole run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import NamedTuple

from trainwatt.formatting import energy_unit, figures
from trainwatt.units import G_PER_KG

# Terminal columns. A bar with one or two metrics takes 120 of them.
_WIDE = 160
UNITS = ("J", "Wh", "kWh", "gCO2e", "kgCO2e")


class Shown(NamedTuple):
    """Figure of the bar.

    Attributes:
        unit: the unit, which is also the name on the bar.
        value: so far.
        whole: projected for the whole run; None if unknown.
        digits: significant digits.
    """

    unit: str
    value: float
    whole: float | None
    digits: int

    @property
    def text(self) -> str:
        """Text of the figure, e.g. ``12.3`` or ``12.3 of 154``."""
        so_far = figures(self.value, self.digits)
        return so_far if self.whole is None else f"{so_far} of {figures(self.whole, self.digits)}"


def bar_figures(metrics: Mapping[str, float]) -> list[Shown]:
    """Select the figures for the bar: energy, and emissions if the terminal has at least 160 columns.

    Args:
        metrics: values by name; unknown ones are absent.
    """
    shown = []
    running = metrics.get("projection/remaining_s", 1.0) > 0
    projected = metrics if running else {}
    if (kwh := metrics.get("energy/total_kwh")) is not None:
        whole = projected.get("projection/total_kwh")
        factor, unit = energy_unit(max(kwh, whole or 0.0))
        shown.append(Shown(unit, kwh * factor, None if whole is None else whole * factor, 3))
    kg = metrics.get("footprint/co2e_kg")
    if kg is not None and shutil.get_terminal_size().columns >= _WIDE:
        whole = projected.get("projection/co2e_kg")
        factor, unit = (G_PER_KG, "gCO2e") if max(kg, whole or 0.0) < 1 else (1.0, "kgCO2e")
        shown.append(Shown(unit, kg * factor, None if whole is None else whole * factor, 2))
    return shown


def bar_texts(metrics: Mapping[str, float]) -> dict[str, str]:
    """Format the figures of the bar by unit, e.g. ``{"Wh": "12.3 of 154", "gCO2e": "5.8 of 71"}``."""
    return {shown.unit: shown.text for shown in bar_figures(metrics)}
