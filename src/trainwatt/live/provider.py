"""Protocol of a live source of carbon intensity, and helpers shared by all sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol, runtime_checkable

# No electricity emits as much; a higher figure is an error.
_HIGHEST_G = 5_000.0
# The year 3000.
_LATEST_S = 32_503_680_000.0
# No source has new figures more often, and none answers sooner.
_LEAST_REFRESH_S, _LEAST_TIMEOUT_S = 10.0, 0.05


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
    """A request, and the parser of its answer.

    Attributes:
        url: address to get.
        headers: request headers.
        parse: function from the decoded JSON to intervals; any exception marks the answer as malformed.
    """

    url: str
    headers: Mapping[str, str]
    parse: Callable[[Any], list[Interval]]


@runtime_checkable
class Provider(Protocol):
    """A live source. It only describes requests; :class:`trainwatt.live.feed.Feed` makes them in the background."""

    @property
    def name(self) -> str:
        """Name of the source in a summary."""
        ...

    @property
    def basis(self) -> str:
        """Scope of its figures, e.g. ``lifecycle, consumption``."""
        ...

    @property
    def key(self) -> str:
        """File name in the cache, equal for all sources that request the same figures."""
        ...

    @property
    def refresh_s(self) -> float:
        """Update interval, seconds."""
        ...

    @property
    def carry_s(self) -> float:
        """Seconds for which the last figure is used until a later one is published."""
        ...

    @property
    def timeout_s(self) -> float:
        """Timeout of a request, seconds."""
        ...

    @property
    def country(self) -> str | None:
        """Only country that it covers, ISO 3166-1; None if it covers several."""
        ...

    def at(self, zone: str) -> Provider:
        """Return the same source for a grid zone.

        Raises:
            ValueError: if it does not cover the zone; the message describes a valid source.
        """
        ...

    def actual(self, now_s: float) -> Sequence[Query]:
        """Return the queries for the last hours."""
        ...

    def forecast(self, now_s: float) -> Sequence[Query]:
        """Return the queries for the coming hours; empty if it has no forecast."""
        ...


class Source(NamedTuple):
    """A live source whose attributes were read once and checked, because a user's own may raise or change.

    Attributes:
        provider: the source.
        name, basis, key, refresh_s, carry_s, timeout_s, country: see :class:`Provider`.
    """

    provider: Provider
    name: str
    basis: str
    key: str
    refresh_s: float
    carry_s: float
    timeout_s: float
    country: str | None

    @classmethod
    def of(cls, provider: Provider) -> Source:
        """Read and check the attributes of a live source.

        Raises:
            Exception: whatever they raise; ValueError if one is of the wrong kind.
        """
        name, basis, key = (_text(provider, each) for each in ("name", "basis", "key"))
        country = None if provider.country is None else _text(provider, "country")
        refresh_s, carry_s, timeout_s = (
            _seconds(provider, each, least_s)
            for each, least_s in (("refresh_s", _LEAST_REFRESH_S), ("carry_s", 0.0), ("timeout_s", _LEAST_TIMEOUT_S))
        )
        return cls(provider, name, basis, key, refresh_s, carry_s, timeout_s, country)


def checked_interval(begin_s: object, end_s: object, g_per_kwh: object) -> Interval:
    """Return an interval of numbers.

    Raises:
        ValueError: if it is none, it ends before it begins, or it lies outside the years 1970 to 3000.
    """
    times = [each for each in (begin_s, end_s) if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if len(times) < 2 or not 0 <= times[0] < times[1] < _LATEST_S:
        raise ValueError("an interval needs two times in seconds, of which the second one is later")
    return Interval(float(times[0]), float(times[1]), grams_of(g_per_kwh))


def _text(provider: Provider, name: str) -> str:
    value = getattr(provider, name)
    if not isinstance(value, str):
        raise ValueError(f"{name} of the live source is not a text")  # noqa: TRY004  # as all of its faults
    return value


def _seconds(provider: Provider, name: str, least_s: float) -> float:
    value = getattr(provider, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} of the live source is not a number of seconds")
    return max(float(value), least_s)


def seconds_of(text: str) -> float:
    """Parse an ISO 8601 time as seconds since the Unix epoch; without an offset it is UTC.

    Raises:
        ValueError: if it is not an ISO 8601 time.
    """
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def iso_of(seconds: float) -> str:
    """Format a time as ISO 8601 in UTC, to the minute, e.g. ``2026-11-23T09:30Z``."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


def grams_of(value: object) -> float:
    """Return the value as a carbon intensity.

    Raises:
        ValueError: if it is not a valid one.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value < _HIGHEST_G:  # type: ignore[arg-type,operator]
        raise ValueError(f"{value!r} is not a valid carbon intensity")
    return float(value)  # type: ignore[arg-type]
