"""Each part of a run is a boundary: what fails in it costs the part and one warning, and the summary has its keys."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainwatt import Sink, Tracker, measure, read_run
from trainwatt.live.provider import Query
from trainwatt.power.device import Device
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events
from trainwatt.testing import ConstantCounter, VirtualClock, VirtualTracker

WATTS = 100.0
PARTS = ("_projector", "_job", "_sinks", "_ledger", "_persistence")


class Broken:
    """Anything of ours, after the worst that can happen to it."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


class BrokenSink(Sink):
    def on_projection(self, snapshot: Any, *, again: bool) -> None:
        raise ConnectionError("no server")

    on_recorded = on_summary = on_projection  # type: ignore[assignment]


class Kept(Sink):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_projection(self, snapshot: Any, *, again: bool) -> None:
        self.calls.append("projection")

    def on_summary(self, summary: Any) -> None:
        self.calls.append("summary")


class BrokenLive:
    """A live source whose every answer is an error of its own."""

    name, basis, key, country = "own", "lifecycle", "own", None
    refresh_s, carry_s, timeout_s = 100.0, 3600.0, 1.0

    def at(self, zone: str) -> BrokenLive:
        return self

    def actual(self, now_s: float) -> Sequence[Query]:
        raise ZeroDivisionError

    forecast = actual


def train(run: Tracker, at: Callable[[Any], object] | None = None, epochs: int = 4) -> list[dict[str, float]]:
    """Train, and return what a framework would log at each epoch."""
    logged = []
    with run:
        for _ in _epochs(run, epochs, logged):
            for _ in range(5):
                if isinstance(run, VirtualTracker):
                    run.advance(1.0)
                run.step()
            if at and len(logged) == 1:
                at(run._session)
    return logged


def _epochs(run: Tracker, count: int, logged: list[dict[str, float]]) -> Any:
    run.plan(Plan(epochs=count), from_now=True)
    for epoch in range(count):
        run.begin("train", epoch=epoch)
        yield epoch
        run.end("train")
        snapshot = run.end_epoch()
        assert snapshot is not None
        logged.append(snapshot.metrics())


def virtual(folder: Path | None = None, sinks: Sequence[Sink] = (), **options: Any) -> VirtualTracker:
    clock = VirtualClock()
    device = Device("gpu:1", "gpu", "Board", "measured", "a counter", 0.95, 1.05)
    meter = ConstantCounter(clock, watts=WATTS, device=device)
    return VirtualTracker(clock, [meter], sinks=sinks, zone="FR", output_dir=folder, run_name="run", **options)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(scope="module")
def keys() -> set[str]:
    run = virtual()
    train(run)
    return set(run.summary)


@pytest.mark.parametrize("part", PARTS)
def test_a_broken_part_costs_the_part(
    part: str, keys: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = virtual(tmp_path)
    logged = train(run, lambda session: setattr(session, part, Broken()))
    told = warnings(caplog)
    assert len(told) == len(set(told))
    assert len(logged) == 4
    assert keys <= set(run.summary) | {"written"}
    ended = part == "_ledger"
    assert run.summary["status"] == ("failed" if ended else "finished")
    assert sum("measuring stops here" in each for each in told) == ended
    # the account breaks at the end of the second epoch
    assert run.summary["total_j"] == pytest.approx((10 if ended else 20) * WATTS, rel=0.01)
    assert [epoch["energy/total_kwh"] for epoch in logged] == sorted(epoch["energy/total_kwh"] for epoch in logged)
    if part != "_persistence":
        assert read_run(tmp_path / "run").status == run.summary["status"]


def test_a_broken_account_ends_the_run_with_what_was_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run = measure(zone="FR", output_dir=tmp_path, run_name="run", devices=("ram",))
    steps = 0
    with run:
        for epoch in run.epochs(3):
            steps += 1
            run.step()
            if epoch == 1:
                # no figure can be made of it any more
                run._session._snapshots._ledger = Broken()  # type: ignore[union-attr,assignment]
    assert steps == 3
    assert sum("measuring stops here" in each for each in warnings(caplog)) == 1
    assert run.summary["status"] == "failed"
    assert run.summary["phases"]["train"]["entries"] >= 1
    assert run.summary["total_j"] > 0
    assert "run failed after" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))["status"] == "failed"
    assert list(read_events(tmp_path / "run"))[-1]["event"] == "end"


def test_a_broken_sink_costs_itself_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    run = virtual(sinks=(BrokenSink(), kept))
    train(run)
    told = [each for each in warnings(caplog) if "BrokenSink" in each]
    assert len(told) == 1
    assert "ConnectionError: no server" in told[0]
    assert kept.calls[-1] == "summary"
    assert "projection" in kept.calls


def test_a_live_source_that_raises_costs_the_live_figures(keys: set[str]) -> None:
    run = virtual(carbon_intensity=BrokenLive())
    train(run)
    assert run.summary["status"] == "finished"
    assert set(run.summary) == keys
    assert run.summary["footprint"]["co2e_kg"]["central"] > 0


class BadScalar:
    def __float__(self) -> float:
        raise RuntimeError("CUDA error: device-side assert triggered")

    __str__ = __repr__ = __float__  # type: ignore[assignment]


def test_bad_notes_and_metrics_are_null_with_a_reason_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = virtual(tmp_path)
    circle: dict[Any, Any] = {"event": "circle"}
    circle["itself"] = circle
    with run:
        for epoch in run.epochs(3):
            run.advance(1.0)
            run.metric("loss", float("nan") if epoch else BadScalar())  # type: ignore[arg-type]
            run.log_event({"event": "keys", 3: 4, (1, 2): 5, None: BadScalar()})
            run.log_event(circle)
            run.log_event({"event": "span", "phase": "mine", "joules": "many", "total_j": -1})
            run.log_event("no mapping")  # type: ignore[arg-type]
    told = warnings(caplog)
    assert len([each for each in told if "loss" in each]) == 1
    assert len([each for each in told if "note" in each]) == 1
    assert run.summary["status"] == "finished"
    events = list(read_events(tmp_path / "run"))
    assert [event["value"] for event in events if event["event"] == "score"] == [None] * 3
    notes = [event for event in events if event["event"] == "note"]
    assert [note["name"] for note in notes[:4]] == ["keys", "circle", "span", "no mapping"]
    assert notes[0]["data"] == {"3": 4, "(1, 2)": 5, "None": None}
    assert notes[2]["data"] == {"phase": "mine", "joules": "many", "total_j": -1}
    assert all(note["total_j"] >= 0 for note in notes)
    text = (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert "NaN" not in text
    found = read_run(tmp_path / "run")
    assert sum(sum(event["joules"].values()) for event in found.events if event["event"] == "span") == pytest.approx(
        found.summary["total_j"]
    )


def test_devices_that_cannot_be_understood_cost_their_choice_only() -> None:
    run = measure(zone="FR", output_dir=None, devices=("ram",), verbose=False)
    run.start(trains_on=[Broken(), object()])
    assert run.stop() is not None
    assert run.summary["status"] == "finished"


def test_a_run_that_cannot_begin_leaves_a_summary(keys: set[str], caplog: pytest.LogCaptureFixture) -> None:
    run = virtual()
    run._sampler = Broken()  # type: ignore[assignment]
    with run:
        for _ in run.epochs(2):
            run.step()
    assert run.summary["status"] == "failed"
    assert set(run.summary) == keys
    assert [each for each in warnings(caplog) if "the start of measuring failed" in each]


@pytest.mark.parametrize("count", ["many", None, object()])
def test_a_bad_number_of_steps_costs_the_count(count: Any) -> None:
    run = virtual()
    with run:
        for _ in run.epochs(2):
            run.advance(1.0)
            run.step(count)
            run.batch(count)
            run.count(count)
    assert run.summary["status"] == "finished"
    assert run.summary["total_j"] == pytest.approx(2 * WATTS, rel=0.01)
