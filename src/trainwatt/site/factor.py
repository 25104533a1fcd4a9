"""One figure that turns energy into something else, with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Factor:
    """A figure with its range and its source.

    Attributes:
        name: what it is, e.g. ``carbon intensity``.
        value: the figure.
        low, high: its range, ``low <= value <= high``.
        unit: e.g. ``gCO2e/kWh``.
        source: who published it, or ``given`` by the user: in an argument, by a variable, or in a file that is named.
        year: the year or period that it holds for; empty where the source tells none.
        basis: what it counts, e.g. ``lifecycle, production``; figures of two bases do not compare.
        note: what a reader should know of the figure or its range; mostly empty.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    year: str = ""
    basis: str = ""
    note: str = ""

    @classmethod
    def given(cls, name: str, value: float, unit: str, source: str = "given") -> Factor:
        """The user's own figure: taken as exact."""
        return cls(name, value, value, value, unit, source)

    @property
    def is_given(self) -> bool:
        """Whether it is the user's own."""
        return self.source.startswith("given")

    def compares_with(self, other: Factor) -> bool:
        """Whether a ratio of the two means something: one source, one basis, one unit, and not the user's own."""
        same = (self.source, self.basis, self.unit) == (other.source, other.basis, other.unit)
        return same and not self.is_given

    def text(self) -> str:
        """The figure with its range, and where it comes from, in a line."""
        unit = f" {self.unit}" if self.unit else ""
        span = "" if self.low == self.value == self.high else f" ({self.low:.4g} to {self.high:.4g})"
        traced = ", ".join(filter(None, (f"{self.source} {self.year}".strip(), self.basis)))
        return f"{self.name} {self.value:.4g}{unit}{span}: {traced}"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        return {name: getattr(self, name) for name in _FIELDS}  # all flat: `asdict` takes six times as long


_FIELDS = [each.name for each in fields(Factor)]
