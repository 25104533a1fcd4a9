"""What is said of a place, by whom: arguments before the environment, the environment before a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainwatt.errors import ArgumentError
from trainwatt.site.place import Place, find_place


class Setting(NamedTuple):
    """One thing that was said.

    Attributes:
        value: what.
        label: how an error names it, e.g. ``pue``, ``TRAINWATT_PUE`` or ``/etc/trainwatt.toml: pue``.
        source: how a figure from it is traced, e.g. ``given`` or ``given in /etc/trainwatt.toml``.
    """

    value: Any
    label: str
    source: str = "given"

    def number(self, least: float, unit: str = "") -> float:
        """The value as a number.

        Raises:
            ArgumentError: it is none, or less than that.
        """
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
            raise ArgumentError(self.label, value, f"a number of at least {least:g}{f' {unit}' if unit else ''}")
        return float(value)


Layer = Mapping[str, Setting]


def place_of(layer: Layer) -> Place | None:
    """The place that somebody names, or None.

    Raises:
        ArgumentError: an unknown one, under the name that it was given by.
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
    """What holds, the first of the layers before the others.

    A layer that names another place than one before it is left out: its figures are those of that place.
    """
    said: dict[str, Setting] = {}
    places: list[Place] = []
    for layer in layers:
        place = place_of(layer)
        if place is not None and any(_differ(place, other) for other in places):
            continue
        said = {**layer, **said}
        if place is not None:
            places.append(place)
    return said


def _differ(one: Place, other: Place) -> bool:
    return one.zone != other.zone or (None not in (one.cloud, other.cloud) and one.cloud != other.cloud)
