"""The live sources that are known: Electricity Maps, Great Britain and Denmark."""

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
    """Electricity Maps, version 3 of its API: most of the world, by the hour; needs a token.

    Args:
        token: from https://portal.electricitymaps.com; sent as a header, never written or shown.
        zone: theirs, such as ``US-CAL-CISO``; None: the run's country.
        base_url: where its API is.
        timeout_s: how long to wait for an answer.
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

    @property
    def key(self) -> str:
        """See :class:`trainwatt.live.provider.Provider`."""
        return f"electricitymaps-{self.zone}"

    def at(self, zone: str) -> ElectricityMaps:
        """See :class:`trainwatt.live.provider.Provider`."""
        if self.zone is None and ("-" in zone or zone == "WORLD"):
            raise ValueError(f"ElectricityMaps(token, zone=...) with their own name of the grid of {zone}")
        return self if self.zone else replace(self, zone=zone)

    def actual(self, now_s: float) -> Sequence[Query]:  # noqa: ARG002  # it needs no time
        """See :class:`trainwatt.live.provider.Provider`."""
        return self._query("history", _history), self._query("latest", _latest)

    def forecast(self, now_s: float) -> Sequence[Query]:  # noqa: ARG002  # it needs no time
        """See :class:`trainwatt.live.provider.Provider`."""
        return (self._query("forecast", _forecast),)

    def _query(self, what: str, parse: Any) -> Query:
        # without a zone that it knows it would look up the caller's address
        asked = {"zone": self.zone or "", "emissionFactorType": "lifecycle", "disableCallerLookup": "true"}
        url = f"{self.base_url}/carbon-intensity/{what}?{urlencode(asked)}"
        return Query(url, {"auth-token": self.token}, parse)


@dataclass(frozen=True, slots=True)
class GreatBritain:
    """The Carbon Intensity API of Great Britain's system operator NESO, by the half hour; needs no key.

    Args:
        base_url: where its API is.
        timeout_s: how long to wait for an answer.
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
    """Energinet's Energi Data Service, by five minutes; needs no key.

    Args:
        area: price area, ``DK1`` (west of the Great Belt) or ``DK2``; None: the mean of both.
        base_url: where its API is.
        timeout_s: how long to wait for an answer.

    Raises:
        ArgumentError: another area.
    """

    area: str | None = None
    base_url: str = "https://api.energidataservice.dk"
    timeout_s: float = 10.0

    name: ClassVar[str] = "Energinet, Energi Data Service"
    country: ClassVar[str | None] = "DK"
    refresh_s: ClassVar[float] = 600.0  # it asks for no more than a request a minute
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
        """See :class:`trainwatt.live.provider.Provider`."""
        _only("DK", zone)
        return self

    def actual(self, now_s: float) -> Sequence[Query]:
        """See :class:`trainwatt.live.provider.Provider`."""
        return (self._query("CO2Emis", now_s - 24 * _HOUR_S, now_s + 3 * _HOUR_S),)

    def forecast(self, now_s: float) -> Sequence[Query]:
        """See :class:`trainwatt.live.provider.Provider`."""
        return (self._query("CO2EmisProg", now_s - 3 * _HOUR_S, now_s + 48 * _HOUR_S),)

    def _query(self, dataset: str, begin_s: float, end_s: float) -> Query:
        areas = [self.area] if self.area else ["DK1", "DK2"]
        asked = {  # times with hours to spare, should they be taken for Danish ones after all
            "start": iso_of(begin_s).rstrip("Z"),
            "end": iso_of(end_s).rstrip("Z"),
            "timezone": "UTC",
            "filter": json.dumps({"PriceArea": areas}, separators=(",", ":")),
            "limit": "0",
        }
        return Query(f"{self.base_url}/dataset/{dataset}?{urlencode(asked)}", {}, _five_minutes)


def provider_named(name: str, token: str | None) -> Provider:
    """A live source by its short name.

    Args:
        name: one of :data:`NAMES`.
        token: for Electricity Maps.

    Raises:
        ValueError: another name, or no token where one is needed; says what would be right.
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
        raise ValueError(f"a live source of {zone}: this one tells of {country} alone")


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
    """``actual`` is null until it is known: then the forecast for that half hour, which is NESO's own estimate."""
    intervals = []
    for each in payload["data"]:
        told = each["intensity"]
        grams = told["actual"] if told.get("actual") is not None else told["forecast"]
        if grams is not None:
            intervals.append(Interval(seconds_of(each["from"]), seconds_of(each["to"]), grams_of(grams)))
    return intervals


def _five_minutes(payload: Any) -> list[Interval]:
    """The mean of the areas that were asked for."""
    by_time: dict[float, list[float]] = {}
    for each in payload["records"]:
        if each["CO2Emission"] is not None:
            by_time.setdefault(seconds_of(each["Minutes5UTC"]), []).append(grams_of(each["CO2Emission"]))
    return [Interval(time_s, time_s + _FIVE_MINUTES_S, sum(all_) / len(all_)) for time_s, all_ in by_time.items()]
