"""What people must hand in, from a run's summary: what ``summary.json`` holds, and ``monitor.summary`` too."""

from __future__ import annotations

from trainwatt.export.citation import latex, markdown
from trainwatt.export.codecarbon import append_emissions, emissions_row
from trainwatt.export.model_card import card_with, co2_eq_emissions, write_card
from trainwatt.export.sci import Score, sci

__all__ = [
    "Score",
    "append_emissions",
    "card_with",
    "co2_eq_emissions",
    "emissions_row",
    "latex",
    "markdown",
    "sci",
    "write_card",
]
