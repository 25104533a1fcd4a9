"""Everyday things to compare emissions with."""

from __future__ import annotations

from trainwatt.site import tables
from trainwatt.site.factor import Factor


def equivalences() -> dict[str, Factor]:
    """Grams of an everyday thing, by a short key such as ``train_km``; some count CO2 alone, as their unit says."""
    return {row["key"]: _factor(row) for row in tables.rows("equivalences.csv")}


def _factor(row: tables.Row) -> Factor:
    grams = float(row["g_per_unit"])
    return Factor(row["label"], grams, grams, grams, row["unit"], row["source"])
