"""Unit conversion factors."""

from __future__ import annotations

J_PER_WH = 3_600.0
J_PER_KWH = 3_600_000.0
WH_PER_KWH = 1_000.0
S_PER_H = 3_600.0
H_PER_YEAR = 8_760.0
G_PER_KG = 1_000.0
MICRO = 1e-6
MILLI = 1e-3


def kwh_from_j(joules: float) -> float:
    """Convert joules to kilowatt hours."""
    return joules / J_PER_KWH
