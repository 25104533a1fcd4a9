from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import trainwatt.live
from standins.grid_api import GridApi, serving
from trainwatt.errors import ArgumentError
from trainwatt.live import Denmark, ElectricityMaps, GreatBritain, Interval, Provider, Query
from trainwatt.live.fetch import fetch

NOW_S = 1_516_449_600.0  # 2018-01-20T12:00Z
SOURCES = [
    lambda url: ElectricityMaps("secret", base_url=url).at("FR"),
    lambda url: GreatBritain(base_url=url).at("GB"),
    lambda url: Denmark(base_url=url).at("DK"),
    lambda url: Denmark("DK2", base_url=url).at("DK"),
]


@pytest.fixture
def api() -> Iterator[GridApi]:
    with serving(GridApi(lambda time_s: time_s // 3600 % 24 + 50)) as api:
        yield api


def told(query: Query) -> list[Interval]:
    return query.parse(fetch(query.url, query.headers, 5.0).payload)


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_tells_the_last_hours_and_the_next(api: GridApi, source: Any) -> None:
    provider, now_s = source(api.url), time.time()
    assert isinstance(provider, Provider)
    for queries, from_s, to_s in (
        (provider.actual(now_s), now_s - 6 * 3600, now_s),
        (provider.forecast(now_s), now_s, now_s + 3600),
    ):
        intervals = [each for query in queries for each in told(query)]
        assert min(each.begin_s for each in intervals) <= from_s
        assert max(each.end_s for each in intervals) >= to_s
        assert all(each.end_s - each.begin_s in (300, 1800, 3600) for each in intervals)


@pytest.mark.parametrize("source", SOURCES)
def test_a_figure_is_of_the_time_that_it_is_told_for(api: GridApi, source: Any) -> None:
    provider = source(api.url)
    for query in provider.actual(time.time()):
        for each in told(query):
            difference = each.g_per_kwh - api.intensity(each.begin_s)
            assert difference == {"dk2": 10, "dk": 5}.get(provider.key, 0)


def test_great_britains_example() -> None:
    payload = {
        "data": [
            {
                "from": "2018-01-20T12:00Z",
                "to": "2018-01-20T12:30Z",
                "intensity": {"forecast": 266, "actual": 263, "index": "moderate"},
            },
            {
                "from": "2018-01-20T12:30Z",
                "to": "2018-01-20T13:00Z",
                "intensity": {"forecast": 270, "actual": None, "index": "moderate"},
            },
        ]
    }
    (query, _) = GreatBritain().actual(NOW_S)
    assert query.url == "https://api.carbonintensity.org.uk/intensity/2018-01-20T12:00Z/pt24h"
    assert query.parse(payload) == [
        Interval(NOW_S, NOW_S + 1800, 263.0),
        Interval(NOW_S + 1800, NOW_S + 3600, 270.0),
    ]


def test_the_token_is_sent_as_a_header_and_no_address_is_looked_up(api: GridApi) -> None:
    provider = ElectricityMaps("secret", base_url=api.url).at("FR")
    for query in (*provider.actual(NOW_S), *provider.forecast(NOW_S)):
        told(query)
    assert set(api.tokens) == {"secret"}
    assert all("zone=FR" in path and "disableCallerLookup=true" in path for path in api.asked)
    assert not any("secret" in path for path in api.asked)
    assert "secret" not in repr(provider)


def test_a_token_of_a_file_ends_with_a_line_break() -> None:
    assert ElectricityMaps("secret\n") == ElectricityMaps("secret")


@pytest.mark.parametrize("token", [None, 5, "two\nlines", "caf\u00e9", b"bytes"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(token: Any) -> None:
    with pytest.raises(ArgumentError, match="token") as error:
        ElectricityMaps(token)
    assert str(token) not in str(error.value)


def test_denmark_is_asked_for_its_areas_in_utc(api: GridApi) -> None:
    (query,) = Denmark("DK1", base_url=api.url).actual(NOW_S)
    assert "filter=%7B%22PriceArea%22%3A%5B%22DK1%22%5D%7D" in query.url
    assert "timezone=UTC" in query.url
    assert {each.g_per_kwh for each in told(query)} <= set(range(50, 75))
    with pytest.raises(ArgumentError, match="area='DK3': expected 'DK1', 'DK2'"):
        Denmark("DK3")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("bad", [-1, 1e6, "100", True, float("nan")])
def test_what_is_no_carbon_intensity_is_refused(source: Any, bad: object) -> None:
    provider = source("http://127.0.0.1")
    time_ = "2018-01-20T12:00Z"
    payload = {
        "history": [{"carbonIntensity": bad, "datetime": time_}],
        "data": [{"from": time_, "to": time_, "intensity": {"forecast": bad, "actual": bad}}],
        "records": [{"Minutes5UTC": "2018-01-20T12:00:00", "PriceArea": "DK1", "CO2Emission": bad}],
    }
    with pytest.raises(ValueError, match="not a valid carbon intensity"):
        provider.actual(NOW_S)[0].parse(payload)


def test_the_public_names_are_sorted_and_there() -> None:
    assert sorted(trainwatt.live.__all__) == trainwatt.live.__all__
    assert all(hasattr(trainwatt.live, name) for name in trainwatt.live.__all__)
