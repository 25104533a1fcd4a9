"""Precedence of site settings: arguments before environment variables, and these before a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainwatt.errors import ArgumentError
from trainwatt.site.place import Place, find_place


class Limits(NamedTuple):
    """Plausible values of a setting.

    Attributes:
        least, most: the range; above ``most`` no real figure lies.
        unit: of the values; empty for a ratio.
        smallest: least value above 0, below which the unit must be another one.
        why: reason for the limits, for the message.
        per_unit: factor from the unit that a small value probably has, and its name.
    """

    least: float
    most: float = math.inf
    unit: str = ""
    smallest: float = 0.0
    why: str = ""
    per_unit: tuple[float, str] | None = None

    def reason(self, value: float) -> str:
        """Return the reason for the limits, and what a value that is too small would be in the right unit."""
        converted = ""
        if self.per_unit and 0 < value < self.smallest:
            factor, other = self.per_unit
            converted = f"; {value:g} {other} would be {value * factor:g} {self.unit}"
        return (f": {self.why}" if self.why else "") + converted


class Setting(NamedTuple):
    """A value that the user has set.

    Attributes:
        value: the value.
        label: name in error messages, e.g. ``pue``, ``TRAINWATT_PUE`` or ``/etc/trainwatt.toml: pue``.
        source: source of a factor made from it, e.g. ``given`` or ``given in /etc/trainwatt.toml``.
    """

    value: Any
    label: str
    source: str = "given"

    def number(self, limits: Limits) -> float:
        """Return the value as a number.

        Raises:
            ArgumentError: if it is not a number, or outside the limits; the message says which unit it may have.
        """
        value, unit = self.value, f" {limits.unit}" if limits.unit else ""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not limits.least <= value < math.inf:
            raise ArgumentError(self.label, value, f"a number of at least {limits.least:g}{unit}")
        if value > limits.most:
            raise ArgumentError(self.label, value, f"a number of at most {limits.most:g}{unit}{limits.reason(value)}")
        if 0 < value < limits.smallest:
            expected = f"0, or a number of at least {limits.smallest:g}{unit}{limits.reason(value)}"
            raise ArgumentError(self.label, value, expected)
        return float(value)


Layer = Mapping[str, Setting]


def place_of(layer: Layer) -> Place | None:
    """Return the place that a layer sets, or None.

    Raises:
        ArgumentError: if the place is unknown; the message uses the label of the setting.
    """
    zone, cloud = layer.get("zone"), layer.get("cloud")
    first = zone or cloud
    if first is None:
        return None
    try:
        place = find_place(zone and zone.value, cloud and cloud.value, {})
    except ArgumentError as error:
        raise ArgumentError(layer[error.argument].label, error.given, error.expected) from None
    return place._replace(origin=first.source)


def merged(layers: Sequence[Layer]) -> Layer:
    """Merge layers; earlier layers take precedence.

    A layer that sets another place than an earlier one is left out, because its figures belong to that place.
    """
    settings: dict[str, Setting] = {}
    places: list[Place] = []
    for layer in layers:
        place = place_of(layer)
        if place is not None and any(differ(place, other) for other in places):
            continue
        settings = {**layer, **settings}
        if place is not None:
            places.append(place)
    return settings


def differ(one: Place, other: Place) -> bool:
    """Return True if two places are not the same; a zone and a cloud region in it are."""
    return one.zone != other.zone or (None not in (one.cloud, other.cloud) and one.cloud != other.cloud)
