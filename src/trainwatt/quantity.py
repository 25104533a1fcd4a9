"""Figures with an uncertainty range."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from trainwatt.errors import ArgumentError


class Ranged(Protocol):
    """Protocol of a factor with an uncertainty range."""

    @property
    def value(self) -> float:
        """Central value."""
        ...

    @property
    def low(self) -> float:
        """Lower end of the range."""
        ...

    @property
    def high(self) -> float:
        """Upper end of the range."""
        ...


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure with an uncertainty range.

    Raises:
        ArgumentError: if not ``low <= central <= high``.
    """

    low: float
    central: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.central <= self.high:
            raise ArgumentError("central", self.central, f"between low={self.low!r} and high={self.high!r}")

    def times(self, *factors: Ranged) -> Quantity:
        """Multiply by factors whose relative errors are independent; their logarithms add up in quadrature.

        ``ln(high / central) = sqrt(sum of ln(high_i / central_i)^2)``, and likewise for ``low``. If the central figure
        is 0, no ratio exists; the range is then that of the products of the bounds.
        """
        central = self.central * math.prod(factor.value for factor in factors)
        if central <= 0:
            return Quantity(0.0, 0.0, self.high * math.prod(factor.high for factor in factors))
        lows = [self.low / self.central, *(factor.low / factor.value for factor in factors)]
        highs = [self.high / self.central, *(factor.high / factor.value for factor in factors)]
        return Quantity(central / spread(lows), central, central * spread(highs))

    def scaled(self, by: float) -> Quantity:
        """Multiply by an exact number of at least 0."""
        return Quantity(self.low * by, self.central * by, self.high * by)

    def plus(self, other: Quantity) -> Quantity:
        """Add a quantity whose error is fully correlated, so that both ranges add up."""
        return Quantity(self.low + other.low, self.central + other.central, self.high + other.high)

    def text(self, unit: str) -> str:
        """Format the figure and its range with two significant figures, e.g. ``1.2 kg (0.40 to 2.0)``."""
        return f"{_figures(self.central)} {unit} ({_figures(self.low)} to {_figures(self.high)})"

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-able form."""
        return {"low": self.low, "central": self.central, "high": self.high}


def spread(ratios: Iterable[float]) -> float:
    """Return the largest deviation of a product from its central figure, as a ratio of at least 1.

    The relative errors of the parts are independent, so their logarithms add up in quadrature: ``exp(sqrt(sum of
    ln(ratio)^2))``. A ratio of 0 leaves that side unbounded: infinity.

    Args:
        ratios: ``high / central``, or ``low / central``, of each part.
    """
    return math.exp(math.sqrt(sum(math.log(ratio) ** 2 if ratio > 0 else math.inf for ratio in ratios)))


def _figures(value: float) -> str:
    """Format a number with two significant figures and no exponent."""
    rounded = f"{value:.1e}"
    exponent = int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(0, 1 - exponent)}f}" if value else "0"
