"""A figure with its range."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from trainwatt.errors import ArgumentError


class Ranged(Protocol):
    """A factor with its range, as far as a product needs it."""

    @property
    def value(self) -> float:
        """Its central value."""
        ...

    @property
    def low(self) -> float:
        """The lower end of its range."""
        ...

    @property
    def high(self) -> float:
        """The upper end of its range."""
        ...


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure with its range.

    Raises:
        ArgumentError: unless ``low <= central <= high``.
    """

    low: float
    central: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.central <= self.high:
            raise ArgumentError("central", self.central, f"between low={self.low!r} and high={self.high!r}")

    def times(self, *factors: Ranged) -> Quantity:
        """The product with some factors, whose relative errors are independent: their logarithms add up in quadrature.

        ``ln(high / central) = sqrt(sum of ln(high_i / central_i)^2)``, and likewise below. Where the central figure is
        0 there is no ratio, and the range is that of the products of the bounds.
        """
        central = self.central * math.prod(factor.value for factor in factors)
        if central <= 0:
            return Quantity(0.0, 0.0, self.high * math.prod(factor.high for factor in factors))
        lows = [self.low / self.central, *(factor.low / factor.value for factor in factors)]
        highs = [self.high / self.central, *(factor.high / factor.value for factor in factors)]
        return Quantity(central / spread(lows), central, central * spread(highs))

    def scaled(self, by: float) -> Quantity:
        """The product with an exact number of at least 0."""
        return Quantity(self.low * by, self.central * by, self.high * by)

    def plus(self, other: Quantity) -> Quantity:
        """The sum with a quantity that is wrong in the same direction."""
        return Quantity(self.low + other.low, self.central + other.central, self.high + other.high)

    def text(self, unit: str) -> str:
        """The figure and its range with two significant figures, e.g. ``1.2 kg (0.40 to 2.0)``."""
        return f"{_figures(self.central)} {unit} ({_figures(self.low)} to {_figures(self.high)})"

    def to_dict(self) -> dict[str, float]:
        """A JSON-able form."""
        return {"low": self.low, "central": self.central, "high": self.high}


def spread(ratios: Iterable[float]) -> float:
    """How far a product may be from its central figure, as a ratio of at least 1.

    The relative errors of its parts are independent of each other, so that their logarithms add up in quadrature:
    ``exp(sqrt(sum of ln(ratio)^2))``. A ratio of 0 tells nothing of that side: infinity.

    Args:
        ratios: ``high / central``, or ``low / central``, of each part.
    """
    return math.exp(math.sqrt(sum(math.log(ratio) ** 2 if ratio > 0 else math.inf for ratio in ratios)))


def _figures(value: float) -> str:
    """A number with two significant figures and no exponent."""
    rounded = f"{value:.1e}"
    exponent = int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(0, 1 - exponent)}f}" if value else "0"
