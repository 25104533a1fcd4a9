"""What a live source of carbon intensity has to tell, and the parts that all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol, runtime_checkable

_HIGHEST_G = 5_000.0  # no electricity emits as much: more is an error of somebody's


class Interval(NamedTuple):
    """Carbon intensity over some time.

    Attributes:
        begin_s, end_s: seconds since the Unix epoch.
        g_per_kwh: gCO2e per kWh.
    """

    begin_s: float
    end_s: float
    g_per_kwh: float


class Query(NamedTuple):
    """One request, and how its answer is read.

    Attributes:
        url: what to get.
        headers: of the request.
        parse: from the decoded JSON to intervals; whatever it raises marks the answer as malformed.
    """

    url: str
    headers: Mapping[str, str]
    parse: Callable[[Any], list[Interval]]


@runtime_checkable
class Provider(Protocol):
    """A live source. It only describes requests: :class:`trainwatt.live.feed.Feed` makes them, in the background."""

    @property
    def name(self) -> str:
        """Who tells, as a summary names it."""
        ...

    @property
    def basis(self) -> str:
        """What its figures count, e.g. ``lifecycle, consumption``."""
        ...

    @property
    def key(self) -> str:
        """A file name, the same for all that ask for the same figures."""
        ...

    @property
    def refresh_s(self) -> float:
        """Seconds between two rounds of requests."""
        ...

    @property
    def carry_s(self) -> float:
        """How long the last figure stands in for a later one that is not published yet."""
        ...

    @property
    def timeout_s(self) -> float:
        """How long to wait for an answer."""
        ...

    @property
    def country(self) -> str | None:
        """The only country that it tells of, ISO 3166-1; None where it tells of many."""
        ...

    def at(self, zone: str) -> Provider:
        """The same source for a grid zone.

        Raises:
            ValueError: it knows nothing of that zone; says what would be right.
        """
        ...

    def actual(self, now_s: float) -> Sequence[Query]:
        """What to ask for the last hours."""
        ...

    def forecast(self, now_s: float) -> Sequence[Query]:
        """What to ask for the hours to come; empty where it has no forecast."""
        ...


def seconds_of(text: str) -> float:
    """Seconds since the Unix epoch of an ISO 8601 time; UTC where it names no zone.

    Raises:
        ValueError: it is none.
    """
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def iso_of(seconds: float) -> str:
    """An ISO 8601 time in UTC to the minute, as in ``2026-11-23T09:30Z``."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


def grams_of(value: object) -> float:
    """A carbon intensity.

    Raises:
        ValueError: it is none.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value < _HIGHEST_G:  # type: ignore[arg-type,operator]
        raise ValueError(f"{value!r} is no carbon intensity")
    return float(value)  # type: ignore[arg-type]
