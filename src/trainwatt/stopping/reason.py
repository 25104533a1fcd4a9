"""Reasons for which green early stopping ends a run."""

from __future__ import annotations

from enum import Enum


class StopReason(str, Enum):
    """Reason for which a run is stopped; its value is written to the run folder.

    Attributes:
        TREND: further gains are not expected to meet the threshold.
        BUDGET_KWH: the energy budget is exceeded, or predicted to be.
        BUDGET_CO2E: the emission budget is exceeded, or predicted to be.
        BUDGET_COST: the cost budget is exceeded, or predicted to be.
        DIVERGED: the metric has not been finite in several evaluations in a row, or is worse than
            `divergence_threshold`.
        THRESHOLD: the metric has reached `stopping_threshold`.
        BASELINE: the metric has not passed `baseline`, and no longer improves.
    """

    TREND = "trend"
    BUDGET_KWH = "budget_kwh"
    BUDGET_CO2E = "budget_co2e"
    BUDGET_COST = "budget_cost"
    DIVERGED = "diverged"
    THRESHOLD = "threshold"
    BASELINE = "baseline"
