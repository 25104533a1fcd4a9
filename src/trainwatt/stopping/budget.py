"""Budgets of energy, emissions and cost that end a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from trainwatt.footprint.footprint import Footprint
from trainwatt.formatting import energy_text, mass_text
from trainwatt.stopping.reason import StopReason


@dataclass(frozen=True, slots=True)
class BudgetExcess:
    """Budget that a run has exceeded, or is predicted to exceed.

    Attributes:
        reason: the exceeded budget.
        sentence: description for a person.
        is_news: True the first time that this is returned.
    """

    reason: StopReason
    sentence: str
    is_news: bool = True


class Budget:
    """Limits of a run. Each limit is news once.

    Args:
        max_kwh: energy limit; None for no limit.
        max_co2e_kg: limit of emissions; None for no limit.
        max_cost: limit of the electricity cost, in the currency of the footprint; None for no limit.
    """

    def __init__(
        self, *, max_kwh: float | None = None, max_co2e_kg: float | None = None, max_cost: float | None = None
    ) -> None:
        self.max_kwh, self.max_co2e_kg, self.max_cost = max_kwh, max_co2e_kg, max_cost
        self._reported: set[str] = set()

    @property
    def is_limited(self) -> bool:
        """True if at least one limit is set."""
        return any(limit is not None for limit in (self.max_kwh, self.max_co2e_kg, self.max_cost))

    def check(self, spent: Footprint, planned: Footprint | None = None) -> BudgetExcess | None:
        """Return the first exceeded limit; None if no limit is exceeded.

        Args:
            spent: footprint of the run so far.
            planned: lower bound for the footprint of the whole run. It is compared with the limits if `spent` exceeds
                none; None to skip this comparison.
        """
        excess = self._excess(spent, "is spent")
        if excess is None and planned is not None:
            excess = self._excess(planned, "will be passed by the whole training")
        if excess is None:
            return None
        is_news = excess.sentence not in self._reported
        self._reported.add(excess.sentence)
        return replace(excess, is_news=is_news)

    def _excess(self, footprint: Footprint, how: str) -> BudgetExcess | None:
        if self.max_kwh is not None and footprint.energy_kwh.central >= self.max_kwh:
            return BudgetExcess(StopReason.BUDGET_KWH, f"the energy budget of {energy_text(self.max_kwh)} {how}")
        if self.max_co2e_kg is not None and footprint.co2e_kg.central >= self.max_co2e_kg:
            return BudgetExcess(StopReason.BUDGET_CO2E, f"the budget of {mass_text(self.max_co2e_kg)} CO2e {how}")
        cost = footprint.cost.central if footprint.cost else math.nan
        if self.max_cost is not None and cost >= self.max_cost:
            text = f"the budget of {self.max_cost:g} {footprint.currency or ''} {how}".replace("  ", " ")
            return BudgetExcess(StopReason.BUDGET_COST, text)
        return None
