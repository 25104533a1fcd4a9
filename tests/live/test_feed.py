"""Whatever a live source does, a question is answered at once, and nothing is invented."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.grid_api import GridApi, serving
from trainwatt.live import ElectricityMaps, GreatBritain, Interval, Query
from trainwatt.live.cache import Fetched, cache_folder, load, save
from trainwatt.live.feed import Feed
from trainwatt.live.fetch import FetchError, fetch
from trainwatt.live.intervals import Intervals
from trainwatt.site import Site
from trainwatt.site.live_intensity import LiveIntensity


@pytest.fixture
def api() -> Iterator[GridApi]:
    with serving(GridApi()) as api:
        yield api


@pytest.fixture
def feed(api: GridApi, tmp_path: Path) -> Iterator[Callable[[], Feed]]:
    feeds: list[Feed] = []

    def made(timeout_s: float = 5.0) -> Feed:
        feeds.append(Feed(GreatBritain(base_url=api.url, timeout_s=timeout_s), tmp_path / "cache"))
        return feeds[-1]

    yield made
    for each in feeds:
        each.close()


def wait_for(happened: Callable[[], object], seconds: float = 10.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_what_was_told_is_known_a_moment_later(api: GridApi, feed: Callable[[], Feed]) -> None:
    api.intensity = lambda time_s: 123.0
    live = feed()
    wait_for(lambda: live.version)
    assert live.at(time.time()) == 123.0
    assert live.at(time.time() - 20 * 3600) == 123.0
    assert live.at(time.time() - 60 * 3600) is None
    assert live.at(time.time() + 5 * 3600) is None
    assert live.problem == ""


def test_a_forecast_tells_the_mean_of_what_is_to_come(api: GridApi, feed: Callable[[], Feed]) -> None:
    live = feed()
    wait_for(lambda: live.version)
    assert live.forecast(time.time(), time.time() + 3600) == (100.0, 1.0)
    mean, share = live.forecast(time.time() + 40 * 3600, time.time() + 60 * 3600) or (0.0, 0.0)
    assert mean == 100.0
    assert 0.3 < share < 0.5
    assert live.forecast(time.time() + 90 * 3600, time.time() + 91 * 3600) is None


def test_a_figure_that_is_not_known_yet_is_the_sources_own_forecast(api: GridApi, feed: Callable[[], Feed]) -> None:
    api.actual_null = True
    live = feed()
    wait_for(lambda: live.version)
    assert live.at(time.time()) == 107.0


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        ({"status": 500}, "HTTP 500"),
        ({"status": 429, "headers": {"Retry-After": "7200"}}, "HTTP 429"),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}, "HTTP 302"),
        ({"body": b"<html>Down for maintenance</html>"}, "not JSON but text/html"),
        ({"body": b"null"}, "malformed answer"),
        ({"body": b"[]"}, "malformed answer"),
        ({"body": b'{"data": []}'}, "no figures in the answer"),
        ({"body": b'{"data": [{"from": null}]}'}, "malformed answer"),
        ({"body": b'{"data": [{"from": "soon", "to": "later", "intensity": {"actual": 5}}]}'}, "malformed answer"),
        ({"body": b'{"data": ['}, "not JSON"),
        ({"body": b"\xff\xfe\x00"}, "not JSON"),
        ({"hang_s": 30.0}, "timed out"),
        ({"drip": True}, "timed out"),
    ],
)
def test_a_source_that_fails_tells_nothing_and_why(
    api: GridApi, feed: Callable[..., Feed], failure: dict[str, Any], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    vars(api).update(failure)
    with caplog.at_level(logging.WARNING):
        live = feed(0.2)
        wait_for(lambda: problem in live.problem)
    assert live.at(time.time()) is None
    assert live.forecast(time.time(), time.time() + 60) is None
    wait_for(lambda: caplog.records)
    (told,) = [record.getMessage() for record in caplog.records]
    assert "NESO" in told
    assert "static factor" in told


def test_a_source_that_is_down_tells_nothing(tmp_path: Path) -> None:
    live = Feed(GreatBritain(base_url="http://127.0.0.1:9"))
    wait_for(lambda: "refused" in live.problem)
    assert live.at(time.time()) is None
    live.close()


def test_one_request_that_is_refused_leaves_the_others(api: GridApi, tmp_path: Path) -> None:
    api.refused = ("history", "forecast")
    live = Feed(ElectricityMaps("token", zone="FR", base_url=api.url))
    wait_for(lambda: live.version)
    assert live.at(time.time()) == 100.0
    assert live.forecast(time.time(), time.time() + 60) is None
    live.close()


@pytest.mark.parametrize("skew_s", [-5 * 3600.0, 0.0, 9 * 3600.0])
def test_a_clock_that_is_wrong_is_set_right_by_the_servers(
    api: GridApi, feed: Callable[[], Feed], skew_s: float
) -> None:
    api.skew_s = skew_s
    here_s = time.time()
    api.intensity = lambda time_s: 200.0 if abs(time_s - skew_s - here_s) <= 3600 else 100.0
    live = feed()
    wait_for(lambda: live.version)
    assert live.at(here_s) == 200.0
    assert live.at(here_s - 8 * 3600) == 100.0


def test_a_server_that_asks_to_be_left_alone_is_by_every_run(api: GridApi, feed: Callable[[], Feed]) -> None:
    api.status, api.headers = 429, {"Retry-After": "7200"}
    first = feed()
    wait_for(lambda: first.problem == "HTTP 429")
    time.sleep(0.05)
    asked = len(api.asked)
    api.status = 200
    second = feed()
    time.sleep(0.2)
    assert len(api.asked) == asked
    assert second.version == 0


def test_a_source_that_comes_back_is_asked_again_and_not_before_it_said(api: GridApi, feed: Callable[[], Feed]) -> None:
    api.status, api.headers = 503, {"Retry-After": "1"}
    live = feed()
    wait_for(lambda: live.problem == "HTTP 503")
    api.status = 200
    told_s = time.monotonic()
    assert live.version == 0
    wait_for(lambda: live.version)
    assert time.monotonic() - told_s > 0.8
    assert (live.at(time.time()), live.problem) == (100.0, "")


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("120", 120.0), ("Wed, 21 Oct 2099 07:28:00 GMT", 2e9), ("soon", None), ("-5", None)],
)
def test_retry_after_may_be_seconds_or_a_date(api: GridApi, told: str, seconds: float | None) -> None:
    api.status, api.headers = 503, {"Retry-After": told}
    with pytest.raises(FetchError) as error:
        fetch(api.url + "/intensity", {}, 5.0)
    retry_s = error.value.retry_s
    assert retry_s == seconds or (seconds == 2e9 and retry_s is not None and retry_s > 1e9)


def test_runs_that_follow_each_other_ask_once(api: GridApi, feed: Callable[[], Feed]) -> None:
    first = feed()
    wait_for(lambda: first.version)
    first.close()
    time.sleep(0.05)
    asked = len(api.asked)
    second = feed()
    wait_for(lambda: second.version)
    assert second.at(time.time()) == 100.0
    assert second.forecast(time.time(), time.time() + 60) == (100.0, 1.0)
    assert len(api.asked) == asked


GOOD: dict[str, Any] = {"time_s": 1.0, "skew_s": 0.0, "actual": [], "forecast": [], "not_before_s": 0.0}
SPOILT: dict[str, Callable[[Path], object]] = {
    **{
        f"text-{number}": lambda file, text=text: file.write_text(text)  # type: ignore[misc]
        for number, text in enumerate(
            [
                *("", "null", "{}", "[1]", "1", '"x"', '{"time_s": "x"}', "\0", "[" * 100_000),
                *(json.dumps({**GOOD, "time_s": value}) for value in (None, [], float("nan"), float("inf"), 10**400)),
                *(json.dumps({**GOOD, "skew_s": value}) for value in (1e300, {}, "soon")),
                *(json.dumps({**GOOD, "actual": value}) for value in (5, "abc", [[1]], [[1, 2, 3, 4]], [[2, 1, 5]])),
                *(json.dumps({**GOOD, "actual": [[1, 2, value]]}) for value in ("5", -1, 1e9, float("nan"), None)),
            ]
        )
    },
    "binary": lambda file: file.write_bytes(bytes(range(256)) * 100),
    "huge": lambda file: file.write_bytes(b" " * 20_000_000),
    "folder": lambda file: file.mkdir(),
    "pipe": os.mkfifo,
    "device": lambda file: file.symlink_to("/dev/zero"),
    "endless-link": lambda file: file.symlink_to(file),
    "secret": lambda file: (file.touch(), file.chmod(0)),
}


@pytest.mark.skipif(sys.platform == "win32", reason="files of POSIX")
@pytest.mark.parametrize("name", SPOILT)
def test_a_file_that_is_spoilt_is_as_none_and_the_source_is_asked(
    api: GridApi, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").mkdir()
    SPOILT[name](tmp_path / "cache" / "gb.json")
    assert load(tmp_path / "cache", "gb") == Fetched()
    live = Feed(GreatBritain(base_url=api.url), tmp_path / "cache")
    wait_for(lambda: live.version)
    assert live.at(time.time()) == 100.0
    assert not caplog.records
    live.close()


def test_a_file_that_forbids_requests_for_ever_does_not(api: GridApi, tmp_path: Path) -> None:
    (tmp_path / "gb.json").write_text(json.dumps({**GOOD, "not_before_s": time.time() + 1e9}))
    live = Feed(GreatBritain(base_url=api.url), tmp_path)
    wait_for(lambda: live.version)
    live.close()


def test_what_is_kept_comes_back_as_it_was_and_holds_no_token(tmp_path: Path) -> None:
    fetched = Fetched(1e9, 5.0, (Interval(1.0, 2.0, 3.0),), (Interval(4.0, 5.0, 6.0),), 7.0)
    save(tmp_path / "new", "electricitymaps-../FR", fetched)
    (file,) = (tmp_path / "new").iterdir()
    assert load(tmp_path / "new", "electricitymaps-../FR") == fetched
    assert set(json.loads(file.read_text())) == {"time_s", "skew_s", "actual", "forecast", "not_before_s"}


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    save(tmp_path / "file", "gb", Fetched())
    assert load(tmp_path / "file", "gb") == Fetched()
    assert cache_folder({}) is None
    assert cache_folder({"HOME": "/home/me"}) == Path("/home/me/.cache/trainwatt")


def test_a_token_is_carried_to_no_other_server(api: GridApi) -> None:
    with serving(GridApi()) as other:
        api.status, api.headers = 307, {"Location": other.url + "/carbon-intensity/latest?zone=FR"}
        with pytest.raises(FetchError, match="307"):
            fetch(api.url + "/carbon-intensity/latest?zone=FR", {"auth-token": "secret"}, 5.0)
        assert other.asked == []


def test_closing_does_not_wait_for_an_answer(api: GridApi, feed: Callable[..., Feed]) -> None:
    api.hang_s = 30.0
    live = feed(30.0)
    wait_for(lambda: api.asked)
    began_s = time.monotonic()
    live.close()
    assert time.monotonic() - began_s < 0.5


def test_only_its_own_thread_uses_the_network(api: GridApi) -> None:
    @dataclass(frozen=True)
    class Watched:
        threads: list[str]
        name = basis = key = "watched"
        refresh_s = carry_s = 60.0
        timeout_s = 5.0
        country = None

        def at(self, zone: str) -> Watched:
            return self

        def actual(self, now_s: float) -> Any:
            self.threads.append(threading.current_thread().name)
            return GreatBritain(base_url=api.url).actual(now_s)

        def forecast(self, now_s: float) -> Any:
            return ()

    watched = Watched([])
    live = Feed(watched)
    wait_for(lambda: live.version)
    live.at(time.time())
    live.forecast(0.0, 1.0)
    live.close()
    assert set(watched.threads) == {"trainwatt-live"}


@dataclass(frozen=True)
class Users:
    """Live source of a user's own, of which one part does not do what it should."""

    url: str
    broken: str
    value: Any

    def __getattribute__(self, name: str) -> Any:
        broken, value = object.__getattribute__(self, "broken"), object.__getattribute__(self, "value")
        if name != broken:
            return object.__getattribute__(self, name)
        if isinstance(value, BaseException):
            raise value
        return value

    name = basis = key = "users"
    refresh_s = carry_s = 60.0
    timeout_s = 5.0
    country = None

    def at(self, zone: str) -> Users:
        return self

    def actual(self, now_s: float) -> Any:
        return GreatBritain(base_url=self.url).actual(now_s)

    def forecast(self, now_s: float) -> Any:
        return ()


def parsing(result: Any) -> Callable[[float], Any]:
    def parse(_: Any) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    return lambda now_s: [Query("URL/intensity", {}, parse)]


BROKEN: list[tuple[str, Any]] = [
    *((name, RuntimeError("no")) for name in ("name", "basis", "key", "refresh_s", "carry_s", "timeout_s", "country")),
    *((name, 5) for name in ("name", "basis", "key", "country")),
    *((name, "soon") for name in ("refresh_s", "carry_s", "timeout_s")),
    *((name, float("nan")) for name in ("refresh_s", "carry_s", "timeout_s")),
    ("refresh_s", -1.0),
    *(("actual", each) for each in (RuntimeError("no"), lambda now_s: None, lambda now_s: [5])),
    *(("actual", parsing(each)) for each in (SystemExit(3), KeyError("x"), None, 5, [5], [("a", "b", "c")])),
    *(
        ("actual", parsing([Interval(*each)]))
        for each in ((0.0, 1e300, 5.0), (5.0, 1.0, 5.0), (0.0, 9e9, float("nan")))
    ),
]


@pytest.mark.parametrize(("broken", "value"), BROKEN)
def test_a_source_of_the_users_own_that_fails_costs_one_warning_and_the_static_factor_is_used(
    api: GridApi, broken: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if callable(value):
        queries = value
        value = lambda now_s: [  # noqa: E731
            each._replace(url=each.url.replace("URL", api.url)) if isinstance(each, Query) else each
            for each in queries(now_s)
        ]
    live = LiveIntensity(Site(zone="GB", carbon_intensity=Users(api.url, broken, value), environ={}))
    wait_for(lambda: caplog.records)
    for step in range(5):
        live.book(time.time(), step * 1e6)
    site = live.site(time.time(), 5e6)
    assert site.carbon_intensity.value == Site(zone="GB", environ={}).carbon_intensity.value
    assert json.dumps(site.to_dict())
    live.close()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "the static factor is used" in warning


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyError("zone"), AttributeError("x")])
def test_a_source_of_the_users_own_that_cannot_take_a_zone_is_left_out(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class Lost(Users):
        def at(self, zone: str) -> Users:
            raise error

    site = Site(zone="GB", carbon_intensity=Lost("", "", None), environ={})
    assert site.live is None
    assert len(caplog.records) == 1


# each part of an answer, byte by byte without end
DRIPS = {
    "status": b"",
    "header": b"HTTP/1.1 200 OK\r\nX: ",
    "headers": b"HTTP/1.1 200 OK\r\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "body": b"HTTP/1.1 200 OK\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "error": b"HTTP/1.1 500 No\r\n",
}
ENDLESS = {"headers": b"a: b\r\n", "continue": b"HTTP/1.1 100 Continue\r\n\r\n", "chunk": b"1\r\n \r\n"}


@pytest.mark.parametrize("part", DRIPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_that_comes_byte_by_byte_has_a_time_limit(part: str, scheme: str) -> None:
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            # Encryption begins with bytes of the server's as well.
            connection.sendall(DRIPS[part] if scheme == "http" else b"\x16\x03\x03\x40\x00\x02")
            rest = ENDLESS.get(part, b"x") if scheme == "http" else b"\x00"
            while not over.wait(0.002):
                for byte in rest:
                    connection.sendall(bytes((byte,)))

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    began_s = time.monotonic()
    with pytest.raises(FetchError):
        fetch(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/", {}, 0.4)
    assert time.monotonic() - began_s < 1.5
    over.set()
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:em-pass-123@127.0.0.1:9/",
        "http://127.0.0.1:9/?key=em-pass-123",
        "http://127.0.0.1:x/?key=em-pass-123",
        "http://127.0.0.1:9/ ?key=em-pass-123",
        "http://[em-pass-123",
        "file:///etc/hostname?em-pass-123",
        "data:application/json,{}em-pass-123",
        "em-pass-123",
    ],
)
def test_no_error_of_a_request_shows_its_secrets(url: str) -> None:
    with pytest.raises(FetchError) as error:
        fetch(url, {}, 1.0)
    assert "em-pass-123" not in str(error.value)
    with pytest.raises(FetchError) as error:
        fetch("http://127.0.0.1:9/", {"auth-token": "em-pass-123\n"}, 1.0)
    assert "em-pass-123" not in str(error.value)


def test_a_source_that_puts_its_token_into_its_error_does_not_show_it(
    api: GridApi, caplog: pytest.LogCaptureFixture
) -> None:
    def parse(_: Any) -> Any:
        raise RuntimeError("refused plainword")

    queries = [Query(api.url + "/intensity", {"auth-token": "plainword"}, parse)]
    live = Feed(Users(api.url, "actual", lambda now_s: queries))
    wait_for(lambda: caplog.records)
    assert "plainword" not in caplog.text + live.problem
    assert "refused ***" in live.problem
    live.close()


def test_user_and_password_in_an_address_are_sent_as_a_header(api: GridApi) -> None:
    url = api.url.replace("http://", "http://user:pass@")
    assert fetch(url + "/intensity", {}, 5.0).payload["data"]


# what is known, by time

INTERVALS = st.lists(st.floats(0, 1000), min_size=1, max_size=20).map(
    lambda grams: [Interval(100.0 * n, 100.0 * (n + 1), each) for n, each in enumerate(grams)]
)


@given(INTERVALS, st.floats(-50, 2500), st.floats(1, 500))
def test_a_mean_lies_between_the_least_and_the_most(intervals: list[Interval], begin_s: float, length_s: float) -> None:
    mean = Intervals(intervals).mean(begin_s, begin_s + length_s)
    if mean is None:
        assert begin_s >= intervals[-1].end_s or begin_s + length_s <= 0
    else:
        values = [each.g_per_kwh for each in intervals]
        assert min(values) - 1e-9 <= mean[0] <= max(values) + 1e-9
        assert 0 < mean[1] <= 1


def test_the_last_figure_stands_in_for_a_while() -> None:
    known = Intervals([Interval(0, 100, 5.0)], carry_s=50)
    assert [known.at(time_s) for time_s in (-1, 0, 99, 149, 151)] == [None, 5.0, 5.0, 5.0, None]


def test_a_later_figure_takes_the_place_of_an_earlier_one() -> None:
    known = Intervals([Interval(0, 100, 5.0), Interval(100, 200, 6.0)]).updated([Interval(0, 100, 7.0)], since_s=0)
    assert (known.at(50), known.at(150), len(known)) == (7.0, 6.0, 2)
    assert len(known.updated([], since_s=150)) == 1
