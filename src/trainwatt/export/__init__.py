"""Export formats of a run: model card metadata, CodeCarbon rows, SCI scores and citations.

All take the summary of a run: the content of ``summary.json``, or ``monitor.summary``.
"""

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
