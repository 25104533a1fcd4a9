"""Conversion factor with its range and source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Factor:
    """A figure with its range and its source.

    Attributes:
        name: e.g. ``carbon intensity``.
        value: the figure.
        low, high: its range, ``low <= value <= high``.
        unit: e.g. ``gCO2e/kWh``.
        source: publisher, or ``given`` by the user: as an argument, by a variable, or in a named file.
        year: year or period for which it is valid; empty if the source states none.
        basis: scope of the figure, e.g. ``lifecycle, production``; figures of two bases do not compare.
        note: remark on the figure or its range; mostly empty.
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
        """Return a factor with the user's own figure, taken as exact."""
        return cls(name, value, value, value, unit, source)

    @property
    def is_given(self) -> bool:
        """True if it is the user's own figure."""
        return self.source.startswith("given")

    def compares_with(self, other: Factor) -> bool:
        """Return True if a ratio of the two is meaningful: same source, basis and unit, and not the user's own."""
        same = (self.source, self.basis, self.unit) == (other.source, other.basis, other.unit)
        return same and not self.is_given

    def text(self) -> str:
        """Return the figure with its range and source in one line."""
        unit = f" {self.unit}" if self.unit else ""
        span = "" if self.low == self.value == self.high else f" ({self.low:.4g} to {self.high:.4g})"
        traced = ", ".join(filter(None, (f"{self.source} {self.year}".strip(), self.basis)))
        return f"{self.name} {self.value:.4g}{unit}{span}: {traced}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        # All fields are flat, and `asdict` takes six times as long.
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = [each.name for each in fields(Factor)]
