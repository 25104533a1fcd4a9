"""Figures with an uncertainty range."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from trainwatt.errors import ArgumentError

# The exponential function of a larger number overflows.
_MAX_EXPONENT = 709.0


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

    def widened(self, by: Quantity) -> Quantity:
        """Add the relative error of another figure to the range, as an independent cause.

        Args:
            by: the other figure; without a central figure above 0 it has no relative error, and nothing is added.
        """
        if self.central <= 0 or by.central <= 0:
            return self
        low = spread((self.low / self.central, by.low / by.central))
        high = spread((self.high / self.central, by.high / by.central))
        return Quantity(self.central / low, self.central, self.central * high)

    def scaled(self, by: float) -> Quantity:
        """Multiply by an exact number of at least 0."""
        return Quantity(self.low * by, self.central * by, self.high * by)

    def at_least(self, least: float) -> Quantity:
        """Raise the figure and the ends of its range to a least value."""
        if least <= self.low:
            return self
        return Quantity(least, max(least, self.central), max(least, self.high))

    def plus(self, other: Quantity) -> Quantity:
        """Add a quantity whose error is fully correlated, so that both ranges add up."""
        return Quantity(self.low + other.low, self.central + other.central, self.high + other.high)

    def text(self, unit: str) -> str:
        """Format the figure and its range with two significant figures, e.g. ``1.2 kg (0.40 to 2.0)``."""
        return f"{_figures(self.central)} {unit} ({_figures(self.low)} to {_figures(self.high)})"

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-able form."""
        return {"low": self.low, "central": self.central, "high": self.high}


class Part(NamedTuple):
    """A term of a sum, with the cause of its error.

    Attributes:
        amount: the term.
        cause: cause of its error; terms of the same cause err alike.
        common: correlation of its error with those of the same cause, 0 to 1. 1: the whole error is shared; 0: the
            error is its own.
    """

    amount: Quantity
    cause: str
    common: float = 1.0


def summed(parts: Iterable[Part]) -> Quantity:
    """Add up terms, each with a cause of its error.

    Errors of one cause are shared: their distances to the end of the range add up, so that eight like terms have the
    same relative range as one. Errors of different causes, and the part of an error that is a term's own, are
    independent: their distances add up in quadrature. A distance ``d`` with ``common = c`` has the shared part ``c *
    d`` and the own part ``sqrt(1 - c^2) * d``, which together give ``d`` again.

    Args:
        parts: the terms.
    """
    terms = tuple(parts)
    central = sum(term.amount.central for term in terms)
    below: dict[str, list[tuple[float, float]]] = {}
    above: dict[str, list[tuple[float, float]]] = {}
    for amount, cause, common in terms:
        below.setdefault(cause, []).append((amount.central - amount.low, common))
        above.setdefault(cause, []).append((amount.high - amount.central, common))
    return Quantity(central - _distance(below.values()), central, central + _distance(above.values()))


def _distance(causes: Collection[Sequence[tuple[float, float]]]) -> float:
    """Return the distance of a sum to the end of its range, from the distances of its terms by cause."""
    shared = [sum(common * distance for distance, common in terms) for terms in causes]
    own = [(1 - common * common) ** 0.5 * distance for terms in causes for distance, common in terms if common < 1]
    return math.hypot(*shared, *own)


def spread(ratios: Iterable[float]) -> float:
    """Return the largest deviation of a product from its central figure, as a ratio of at least 1.

    The relative errors of the parts are independent, so their logarithms add up in quadrature: ``exp(sqrt(sum of
    ln(ratio)^2))``. A ratio of 0 leaves that side unbounded: infinity.

    Args:
        ratios: ``high / central``, or ``low / central``, of each part.
    """
    deviation = math.sqrt(sum(math.log(ratio) ** 2 if ratio > 0 else math.inf for ratio in ratios))
    return math.exp(deviation) if deviation < _MAX_EXPONENT else math.inf


def _figures(value: float) -> str:
    """Format a number with two significant figures and no exponent."""
    rounded = f"{value:.1e}"
    exponent = int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(0, 1 - exponent)}f}" if value else "0"
