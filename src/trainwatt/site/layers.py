"""Precedence of site settings: arguments before environment variables, and these before a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainwatt.errors import ArgumentError
from trainwatt.site.place import Place, find_place


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

    def number(self, least: float, unit: str = "") -> float:
        """Return the value as a number.

        Raises:
            ArgumentError: if it is not a number, or below ``least``.
        """
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
            raise ArgumentError(self.label, value, f"a number of at least {least:g}{f' {unit}' if unit else ''}")
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
        if place is not None and any(_differ(place, other) for other in places):
            continue
        settings = {**layer, **settings}
        if place is not None:
            places.append(place)
    return settings


def _differ(one: Place, other: Place) -> bool:
    return one.zone != other.zone or (None not in (one.cloud, other.cloud) and one.cloud != other.cloud)
