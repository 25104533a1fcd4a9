"""Supported live sources: Electricity Maps, Great Britain and Denmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import urlencode

from trainwatt.errors import ArgumentError
from trainwatt.live.provider import Interval, Provider, Query, grams_of, iso_of, seconds_of

_HOUR_S, _HALF_HOUR_S, _FIVE_MINUTES_S = 3_600.0, 1_800.0, 300.0
NAMES = ("electricitymaps", "gb", "dk", "dk1", "dk2")


@dataclass(frozen=True, slots=True)
class ElectricityMaps:
    """Electricity Maps, API version 3: most of the world, hourly; needs a token.

    Args:
        token: from https://portal.electricitymaps.com; sent as a header, never written or shown.
        zone: zone name of Electricity Maps, e.g. ``US-CAL-CISO``; None means the run's country.
        base_url: address of the API.
        timeout_s: timeout of a request.

    Raises:
        ArgumentError: if the token is no text of one line.
    """

    token: str = field(repr=False)
    zone: str | None = None
    base_url: str = "https://api.electricitymaps.com/v3"
    timeout_s: float = 10.0

    name: ClassVar[str] = "Electricity Maps"
    basis: ClassVar[str] = "lifecycle, consumption"
    country: ClassVar[str | None] = None
    refresh_s: ClassVar[float] = 900.0
    carry_s: ClassVar[float] = 3 * _HOUR_S

    def __post_init__(self) -> None:
        if not isinstance(self.token, str) or not self.token.strip().isascii() or not self.token.strip().isprintable():
            raise ArgumentError("token", "", "a token, which is a text of letters and digits in one line")
        # One that was read from a file ends with a line break.
        object.__setattr__(self, "token", self.token.strip())

    @property
    def key(self) -> str:
        """See :class:`trainwatt.live.provider.Provider`."""
        return f"electricitymaps-{self.zone}"

    def at(self, zone: str) -> ElectricityMaps:
        """See :class:`trainwatt.live.provider.Provider`."""
        if self.zone is None and ("-" in zone or zone == "WORLD"):
            raise ValueError(f"ElectricityMaps(token, zone=...) with the Electricity Maps name of the grid of {zone}")
        return self if self.zone else replace(self, zone=zone)

    def actual(self, now_s: float) -> Sequence[Query]:  # noqa: ARG002
        """See :class:`trainwatt.live.provider.Provider`."""
        return self._query("history", _history), self._query("latest", _latest)

    def forecast(self, now_s: float) -> Sequence[Query]:  # noqa: ARG002
        """See :class:`trainwatt.live.provider.Provider`."""
        return (self._query("forecast", _forecast),)

    def _query(self, what: str, parse: Any) -> Query:
        # For an unknown zone, the API would otherwise locate the caller by IP address.
        asked = {"zone": self.zone or "", "emissionFactorType": "lifecycle", "disableCallerLookup": "true"}
        url = f"{self.base_url}/carbon-intensity/{what}?{urlencode(asked)}"
        return Query(url, {"auth-token": self.token}, parse)


@dataclass(frozen=True, slots=True)
class GreatBritain:
    """Carbon Intensity API of Great Britain's system operator NESO, half-hourly; needs no key.

    Args:
        base_url: address of the API.
        timeout_s: timeout of a request.
    """

    base_url: str = "https://api.carbonintensity.org.uk"
    timeout_s: float = 10.0

    name: ClassVar[str] = "NESO Carbon Intensity API"
    basis: ClassVar[str] = "CO2 alone, direct, consumption with losses"
    key: ClassVar[str] = "gb"
    country: ClassVar[str | None] = "GB"
    refresh_s: ClassVar[float] = 600.0
    carry_s: ClassVar[float] = _HOUR_S

    def at(self, zone: str) -> GreatBritain:
        """See :class:`trainwatt.live.provider.Provider`."""
        _only("GB", zone)
        return self

    def actual(self, now_s: float) -> Sequence[Query]:
        """See :class:`trainwatt.live.provider.Provider`."""
        day = f"{self.base_url}/intensity/{iso_of(now_s)}/pt24h"
        return Query(day, {}, _half_hours), Query(f"{self.base_url}/intensity", {}, _half_hours)

    def forecast(self, now_s: float) -> Sequence[Query]:
        """See :class:`trainwatt.live.provider.Provider`."""
        return (Query(f"{self.base_url}/intensity/{iso_of(now_s)}/fw48h", {}, _half_hours),)


@dataclass(frozen=True, slots=True)
class Denmark:
    """Energi Data Service of Energinet, every five minutes; needs no key.

    Args:
        area: price area, ``DK1`` (west of the Great Belt) or ``DK2``; None means the mean of both.
        base_url: address of the API.
        timeout_s: timeout of a request.

    Raises:
        ArgumentError: if the area is another one.
    """

    area: str | None = None
    base_url: str = "https://api.energidataservice.dk"
    timeout_s: float = 10.0

    name: ClassVar[str] = "Energinet, Energi Data Service"
    country: ClassVar[str | None] = "DK"
    # The API allows one request per minute.
    refresh_s: ClassVar[float] = 600.0
    carry_s: ClassVar[float] = _HOUR_S

    def __post_init__(self) -> None:
        if self.area not in (None, "DK1", "DK2"):
            raise ArgumentError("area", self.area, "'DK1', 'DK2', or None for the mean of both")

    @property
    def basis(self) -> str:
        """See :class:`trainwatt.live.provider.Provider`."""
        return f"CO2 alone, direct, consumption, {self.area or 'mean of DK1 and DK2'}"

    @property
    def key(self) -> str:
        """See :class:`trainwatt.live.provider.Provider`."""
        return (self.area or "DK").lower()

    def at(self, zone: str) -> Denmark:
        """See :class:`trainwatt.live.provider.Provider`; in a zone such as ``DK-DK1``, that price area."""
        country, _, area = zone.partition("-")
        if area not in ("DK1", "DK2") or self.area not in (None, area):
            _only("DK", zone)
            return self
        _only("DK", country)
        return replace(self, area=area)

    def actual(self, now_s: float) -> Sequence[Query]:
        """See :class:`trainwatt.live.provider.Provider`."""
        return (self._query("CO2Emis", now_s - 24 * _HOUR_S, now_s + 3 * _HOUR_S),)

    def forecast(self, now_s: float) -> Sequence[Query]:
        """See :class:`trainwatt.live.provider.Provider`."""
        return (self._query("CO2EmisProg", now_s - 3 * _HOUR_S, now_s + 48 * _HOUR_S),)

    def _query(self, dataset: str, begin_s: float, end_s: float) -> Query:
        areas = [self.area] if self.area else ["DK1", "DK2"]
        # The times include a margin of hours, in case the API takes them as Danish local time.
        asked = {
            "start": iso_of(begin_s).rstrip("Z"),
            "end": iso_of(end_s).rstrip("Z"),
            "timezone": "UTC",
            "filter": json.dumps({"PriceArea": areas}, separators=(",", ":")),
            "limit": "0",
        }
        return Query(f"{self.base_url}/dataset/{dataset}?{urlencode(asked)}", {}, _five_minutes)


def provider_named(name: str, token: str | None) -> Provider:
    """Return a live source by its short name.

    Args:
        name: one of :data:`NAMES`.
        token: for Electricity Maps.

    Raises:
        ValueError: if the name is unknown, or a required token is missing; the message describes a valid value.
    """
    short = name.strip().lower()
    if short not in NAMES:
        raise ValueError(f"a number of gCO2e/kWh, or a live source: {', '.join(map(repr, NAMES))}")
    if short == "electricitymaps":
        if not token:
            raise ValueError("its token in TRAINWATT_ELECTRICITYMAPS_TOKEN, or ElectricityMaps(token=...)")
        return ElectricityMaps(token)
    return GreatBritain() if short == "gb" else Denmark({"dk1": "DK1", "dk2": "DK2"}.get(short))


def _only(country: str, zone: str) -> None:
    if zone != country:
        raise ValueError(f"a live source of {zone}: this one covers {country} only")


def _latest(payload: Any) -> list[Interval]:
    return [_hour(payload)]


def _history(payload: Any) -> list[Interval]:
    return [_hour(each) for each in payload["history"] if each["carbonIntensity"] is not None]


def _forecast(payload: Any) -> list[Interval]:
    return [_hour(each) for each in payload["forecast"] if each["carbonIntensity"] is not None]


def _hour(record: Any) -> Interval:
    begin_s = seconds_of(record["datetime"])
    return Interval(begin_s, begin_s + _HOUR_S, grams_of(record["carbonIntensity"]))


def _half_hours(payload: Any) -> list[Interval]:
    """Parse half hours; while ``actual`` is null, the forecast is NESO's own estimate of it."""
    intervals = []
    for each in payload["data"]:
        known = each["intensity"]
        grams = known["actual"] if known.get("actual") is not None else known["forecast"]
        if grams is not None:
            intervals.append(Interval(seconds_of(each["from"]), seconds_of(each["to"]), grams_of(grams)))
    return intervals


def _five_minutes(payload: Any) -> list[Interval]:
    """Parse five-minute figures, as the mean of the requested areas."""
    by_time: dict[float, list[float]] = {}
    for each in payload["records"]:
        if each["CO2Emission"] is not None:
            by_time.setdefault(seconds_of(each["Minutes5UTC"]), []).append(grams_of(each["CO2Emission"]))
    return [Interval(time_s, time_s + _FIVE_MINUTES_S, sum(all_) / len(all_)) for time_s, all_ in by_time.items()]
