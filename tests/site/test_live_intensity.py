"""Every part of a run's energy at the carbon intensity of its own time; the static factor where that is not known."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.grid_api import GridApi, serving
from trainwatt.api import measure
from trainwatt.footprint.footprint import footprint
from trainwatt.live import GreatBritain, Interval
from trainwatt.live.cache import Fetched, save
from trainwatt.power.device import Found
from trainwatt.quantity import Quantity
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.records.summary_view import summary_view
from trainwatt.sampling.sampler import Sampler
from trainwatt.site import Site
from trainwatt.site.live_intensity import LiveIntensity
from trainwatt.testing import ScriptedCounter, VirtualClock, run_until
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

STATIC = Site(zone="GB", environ={})
HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test finds what another one has kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trainwatt"


@pytest.fixture
def api() -> Iterator[GridApi]:
    with serving(GridApi()) as api:
        yield api


class Run:
    """A session of 100 W in virtual time, whose intensities a live source has told before."""

    def __init__(self, cache: Path, grams: dict[int, float], begin_s: float) -> None:
        told = tuple(Interval(begin_s + hour * HOUR_S, begin_s + (hour + 1) * HOUR_S, g) for hour, g in grams.items())
        save(cache, "gb", Fetched(time.time(), 0.0, told))
        self.clock = VirtualClock(1000.0, begin_s - 1000.0)
        self.sampler = Sampler(self.clock, threaded=False)
        found = Found((ScriptedCounter(self.clock, lambda time_s: 100 * time_s),))
        provider = GreatBritain(base_url="http://127.0.0.1:9")
        settings = Settings.check(carbon_intensity=provider, output_dir=None, interval=60.0)
        self.session = Session(settings, found=found, sampler=self.sampler)
        feed: Any = self.session._snapshots._live_intensity._feed
        while not feed.version:
            time.sleep(0.002)

    def report_after(self, hours: float) -> RunSnapshot:
        run_until(self.sampler, self.clock, self.clock.now_s + hours * HOUR_S)
        report = self.session.finish()
        assert report is not None
        return report


def this_hour_s() -> float:
    return time.time() // HOUR_S * HOUR_S


def test_emissions_are_the_sum_over_the_hours(cache: Path) -> None:
    report = Run(cache, {0: 300.0, 1: 100.0, 2: 50.0}, this_hour_s() - 3 * HOUR_S).report_after(2.5)
    assert report.footprint.co2e_kg.central == pytest.approx(0.1 * (300 + 100 + 50 / 2) / 1000, rel=0.01)
    factor = report.site.carbon_intensity
    assert factor.value == pytest.approx(425 / 2.5, rel=0.01)
    assert factor.source == "NESO Carbon Intensity API"
    assert factor.year.endswith(time.strftime("%Y", time.gmtime()))
    assert "hourly" in factor.basis
    assert report.summary()["site"]["live"]["share"] == pytest.approx(1.0)


def test_hours_that_are_known_make_the_range_narrower(cache: Path) -> None:
    report = Run(cache, {0: STATIC.carbon_intensity.value}, this_hour_s() - HOUR_S).report_after(0.9)
    live = report.footprint.co2e_kg
    static = footprint(report.energy_kwh, STATIC).co2e_kg
    assert live.central == pytest.approx(static.central)
    assert static.low < live.low <= live.central <= live.high < static.high


def test_hours_of_which_nothing_is_known_are_at_the_static_factor_and_said_to_be(cache: Path) -> None:
    report = Run(cache, {0: 100.0}, this_hour_s() - 9 * HOUR_S).report_after(4.0)
    factor, static = report.site.carbon_intensity, STATIC.carbon_intensity.value
    assert factor.value == pytest.approx((2 * 100 + 2 * static) / 4, rel=0.01)  # one hour stands in for the next
    assert "the remaining 50% of the energy uses the static carbon intensity" in factor.note
    assert "Ember" in factor.note
    assert "50% of the energy by NESO" in summary_view(report.summary()).text()


def test_a_source_that_fails_leaves_the_static_factor_marked_as_such(api: GridApi) -> None:
    api.body = b"<html>Down</html>"
    with measure(carbon_intensity=GreatBritain(base_url=api.url), output_dir=None, verbose=False) as run:
        time.sleep(0.3)
    site = run.summary["site"]
    assert site["live"] == {
        "provider": "NESO Carbon Intensity API",
        "share": 0.0,
        "problem": "not JSON but text/html",
    }
    factor = site["factors"]["carbon_intensity"]
    assert factor["value"] == STATIC.carbon_intensity.value
    assert factor["source"].startswith("Ember")
    assert "static: NESO Carbon Intensity API has no figures for this time (not JSON but text/html)" in factor["note"]


def test_a_run_has_live_figures_from_its_first_moments(api: GridApi) -> None:
    api.intensity = lambda time_s: 77.0
    with measure(carbon_intensity=GreatBritain(base_url=api.url), output_dir=None, verbose=False) as run:
        time.sleep(0.5)
    assert run.summary["site"]["factors"]["carbon_intensity"]["value"] == pytest.approx(77.0)
    assert run.summary["site"]["live"]["share"] == 1.0


@pytest.mark.parametrize("failure", [{"hang_s": 60.0}, {"drip": True}])
def test_a_server_that_hangs_delays_neither_the_training_nor_its_end(api: GridApi, failure: dict[str, Any]) -> None:
    vars(api).update(failure)
    code = (
        "import select, sys, time, trainwatt; from trainwatt.live import GreatBritain\n"
        "run = trainwatt.measure(carbon_intensity=GreatBritain(base_url=sys.argv[1], timeout_s=60.0),\n"
        "                        output_dir=None, verbose=False, devices=['ram'])\n"
        "with run:\n"
        "    for epoch in run.epochs(1_000_000):\n"
        "        run.step()\n"
        "        if select.select([sys.stdin], [], [], 0.01)[0]:\n"
        "            began = time.perf_counter()\n"
        "            break\n"
        "print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", code, api.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as training:
        while not api.asked:
            time.sleep(0.005)
        began_s = time.monotonic()
        told, _ = training.communicate("\n", timeout=50)
    assert time.monotonic() - began_s < 10
    assert float(told) < 3


def test_a_projection_is_told_what_is_expected(api: GridApi) -> None:
    api.intensity = lambda time_s: 60.0
    hourly = LiveIntensity(Site(carbon_intensity=GreatBritain(base_url=api.url), environ={}))
    now_s = time.time()
    while hourly.forecast(now_s, now_s + HOUR_S) is None:
        time.sleep(0.005)
    assert hourly.forecast(now_s, now_s + HOUR_S) == 60.0
    mixed = hourly.forecast(now_s, now_s + 96 * HOUR_S)
    assert mixed is not None
    assert 60.0 < mixed < STATIC.carbon_intensity.value
    assert hourly.forecast(now_s + HOUR_S, now_s) is None
    hourly.close()
    assert LiveIntensity(STATIC).forecast(now_s, now_s + HOUR_S) is None


def test_a_projection_has_its_rest_at_the_intensity_that_is_forecast(api: GridApi) -> None:
    now_s = time.time()
    api.intensity = lambda time_s: 200.0 if time_s <= now_s else 60.0
    hourly = LiveIntensity(Site(carbon_intensity=GreatBritain(base_url=api.url), environ={}))
    while hourly.forecast(now_s, now_s + HOUR_S) is None:
        time.sleep(0.005)
    so_far = hourly.site(now_s, 300.0)
    begin_s = now_s + HOUR_S
    whole = hourly.projected(so_far, 0.25, begin_s, HOUR_S)
    assert whole is not None
    assert so_far.carbon_intensity.value == pytest.approx(200.0)
    assert whole.carbon_intensity.value == pytest.approx(0.75 * 200.0 + 0.25 * 60.0)
    hourly.close()
    assert LiveIntensity(STATIC).projected(STATIC, 0.25, now_s, HOUR_S) is None


def test_each_attempt_of_a_resumed_training_keeps_the_intensity_of_its_own_time(cache: Path) -> None:
    begin_s = this_hour_s() - 3 * HOUR_S
    first = Run(cache, {0: 300.0, 1: 100.0, 2: 50.0}, begin_s)
    run_until(first.sampler, first.clock, first.clock.now_s + HOUR_S)
    state = first.session.state_dict()
    first.session.finish("interrupted")
    second = Run(cache, {0: 100.0, 1: 50.0}, begin_s + HOUR_S)
    second.session.load_state_dict(state)
    report = second.report_after(1.5)
    assert report.energy_kwh.central == pytest.approx(0.25, rel=1e-3)
    assert report.footprint.co2e_kg.central == pytest.approx(0.1 * (300 + 100 + 50 / 2) / 1000, rel=0.01)
    assert report.metrics()["footprint/co2e_kg"] == pytest.approx(report.footprint.co2e_kg.central)
    assert report.site.carbon_intensity.value == pytest.approx(125 / 1.5, rel=0.01)
    assert report.summary()["site"]["live"]["share"] == pytest.approx(1.0)


def test_without_a_live_source_a_site_stays_as_it_is() -> None:
    hourly = LiveIntensity(STATIC)
    hourly.book(1e9, 5.0)
    assert hourly.site(1e9 + 1, 6.0) is STATIC
    hourly.close()


@given(
    st.lists(st.tuples(st.floats(1, 5000), st.floats(0, 1e6)), min_size=1, max_size=8),
    st.lists(st.floats(1, 900), min_size=24, max_size=24),
)
def test_the_mean_lies_within_its_range_whatever_is_known(drawn: list[tuple[float, float]], grams: list[float]) -> None:
    begin_s = this_hour_s() - 12 * HOUR_S
    hourly = LiveIntensity(Site(carbon_intensity=GreatBritain(base_url="http://127.0.0.1:9"), environ={}))
    assert hourly._feed is not None
    told = tuple(Interval(begin_s + n * HOUR_S, begin_s + (n + 1) * HOUR_S, each) for n, each in enumerate(grams[::2]))
    hourly._feed._take(Fetched(time.time(), 0.0, told))
    wall_s, total_j = begin_s, 0.0
    for seconds, joules in drawn:
        wall_s, total_j = wall_s + seconds, total_j + joules
        hourly.book(wall_s, total_j)
    site = hourly.site(wall_s + 1, total_j + 1)
    hourly.close()
    factor = site.carbon_intensity
    assert 0 <= factor.low <= factor.value <= factor.high
    assert site.live is not None
    assert 0 <= site.live.share <= 1
    co2e = footprint(Quantity(1.0, 1.0, 1.0), site).co2e_kg
    assert co2e.low <= co2e.central <= co2e.high
