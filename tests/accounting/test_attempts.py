"""A training that is taken up again: virtual time, two devices of known energy."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwatt.power.device import Device, Found
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events, read_summary
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.records.summary_view import summary_view
from trainwatt.sampling.sampler import Sampler
from trainwatt.testing import ScriptedCounter, VirtualClock, run_until
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

WATTS = 100.0
EPOCH_S, STEPS = 10.0, 50


class Attempt:
    """One run of a training, on a machine of its own."""

    def __init__(self, output_dir: Path | None, host: str = "1", state: dict[str, Any] | None = None) -> None:
        self.clock = VirtualClock()
        self.sampler = Sampler(self.clock, threaded=False)
        device = Device(f"gpu:GPU-{host}", "gpu", "Board", "measured", "a counter", 0.95, 1.05)
        meter = ScriptedCounter(self.clock, lambda time_s: WATTS * time_s, device=device)
        checked = Settings.check(output_dir=output_dir, run_name="run", zone="FR", verbose=False)
        self.session = Session(checked, found=Found((meter,)), sampler=self.sampler)
        if state is not None:
            self.session.load_state_dict(json.loads(json.dumps(state)))  # as a checkpoint keeps it

    def epoch(self, number: int, part: float = 1.0) -> dict[str, Any]:
        self.session.begin("train", epoch=number)
        run_until(self.sampler, self.clock, self.clock.now_s + part * EPOCH_S)
        self.session.step(round(part * STEPS))
        if part == 1.0:
            self.session.end("train")
            self.session.end_epoch()
        return self.session.state_dict()

    def finish(self, status: Any = "finished") -> RunSnapshot:
        report = self.session.finish(status)
        assert report is not None
        return report


def joules(report: RunSnapshot) -> float:
    return report.total.total_j


def test_a_resumed_training_reports_the_whole_and_each_attempt(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    state = first.epoch(0)
    before = first.finish("interrupted")
    second = Attempt(tmp_path, state=state)
    second.epoch(1)
    whole = second.finish()
    assert joules(before) == pytest.approx(WATTS * EPOCH_S)
    assert joules(whole) == pytest.approx(2 * WATTS * EPOCH_S)
    assert whole.phases["train"].steps == 2 * STEPS
    assert [(each.run, each.status) for each in whole.attempts] == [("run", "interrupted"), ("run-2", "finished")]
    assert [each.total_j for each in whole.attempts] == pytest.approx([WATTS * EPOCH_S] * 2)
    assert [each.lost_j for each in whole.attempts] == [0, 0]
    assert whole.metrics()["energy/total_kwh"] == pytest.approx(2 * WATTS * EPOCH_S / 3.6e6)
    assert ", 0.278 Wh in 1 earlier attempt\n" in summary_view(whole.summary()).text()


def test_what_was_spent_after_the_last_checkpoint_is_counted_and_told_as_lost(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    state = first.epoch(0)
    first.epoch(1, part=0.6)
    first.finish("failed")
    second = Attempt(tmp_path, state=state)
    second.epoch(1)
    whole = second.finish()
    assert joules(whole) == pytest.approx(2.6 * WATTS * EPOCH_S)
    assert whole.attempts[0].lost_j == pytest.approx(0.6 * WATTS * EPOCH_S)
    assert "(0.167 Wh of it lost work that was repeated)" in summary_view(whole.summary()).text()
    assert whole.summary()["attempts"][0]["lost_j"] == whole.attempts[0].lost_j


def test_a_killed_attempt_counts_up_to_its_last_flush(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    state = first.epoch(0)
    first.epoch(1, part=0.6)
    del first  # nothing more is written
    whole = Attempt(tmp_path, state=state).finish()
    assert whole.attempts[0].status == "running"
    assert joules(whole) == pytest.approx(1.6 * WATTS * EPOCH_S, abs=1.1 * WATTS)


def test_elsewhere_what_the_checkpoint_holds_is_what_counts(tmp_path: Path) -> None:
    first = Attempt(tmp_path / "one")
    state = first.epoch(0)
    first.epoch(1)
    first.finish("failed")
    state["folder"] = "/another/machine"
    second = Attempt(tmp_path / "two", host="2", state=state)
    second.epoch(1)
    whole = second.finish()
    assert joules(whole) == pytest.approx(2 * WATTS * EPOCH_S)
    assert sorted(whole.total.joules) == ["gpu:GPU-1", "gpu:GPU-2"]
    assert [device["id"] for device in whole.summary()["devices"]] == ["gpu:GPU-2", "gpu:GPU-1"]
    assert whole.measured_share == 1


def test_a_branch_of_a_training_that_came_to_its_end_loses_nothing(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    state = first.epoch(0)
    first.epoch(1)
    first.finish()
    whole = Attempt(tmp_path, state=state).finish()
    assert joules(whole) == pytest.approx(WATTS * EPOCH_S)
    assert whole.attempts[0].lost_j == 0


def test_the_summary_of_a_training_may_stand_for_its_checkpoint(tmp_path: Path) -> None:
    Attempt(tmp_path).epoch(0)
    first = Attempt(tmp_path)
    first.epoch(0)
    first.finish()
    second = Attempt(tmp_path, state=read_summary(tmp_path / "run-2"))
    second.epoch(1)
    assert joules(second.finish()) == pytest.approx(2 * WATTS * EPOCH_S)


def test_spans_in_the_run_folder_add_up_to_the_whole(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    state = first.epoch(0)
    first.finish("failed")
    second = Attempt(tmp_path, state=state)
    second.epoch(1)
    whole = second.finish()
    events = list(read_events(tmp_path / "run-2"))
    spans = [event for event in events if event["event"] == "span"]
    assert sum(sum(span["joules"].values()) for span in spans) == pytest.approx(joules(whole))
    (resumed,) = (event for event in events if event["event"] == "resumed")
    assert resumed["attempts"][0]["run"] == "run"


def test_an_epoch_that_is_made_again_is_that_epoch_alone(tmp_path: Path) -> None:
    first = Attempt(None)
    state = first.epoch(0)
    first.epoch(1, part=0.5)
    second = Attempt(None, state=state)
    second.session.begin("train", epoch=1)
    run_until(second.sampler, second.clock, second.clock.now_s + EPOCH_S)
    second.session.end("train")
    report = second.session.end_epoch()
    assert report is not None
    assert report.metrics()["energy/epoch_kwh"] == pytest.approx(WATTS * EPOCH_S / 3.6e6)


def test_a_resumed_training_is_projected_with_what_it_took_before(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    first.session.plan(Plan(epochs=10, steps_per_epoch=STEPS))
    state = first.epoch(0)
    first.finish("interrupted")
    second = Attempt(tmp_path, state=state)
    second.session.plan(Plan(epochs=9, steps_per_epoch=STEPS, first_epoch=1, first_step=STEPS))
    second.epoch(1)
    report = second.session.snapshot()
    assert report is not None
    assert report.projection is not None
    assert report.projection.energy_kwh.central * 3.6e6 == pytest.approx(10 * WATTS * EPOCH_S)
    assert report.projection.remaining_s == pytest.approx(8 * EPOCH_S)


@pytest.mark.parametrize(
    "state", [{"folder": None}, {"phases": 3, "run": "x"}, {"run": "x", "phases": {}, "status": ""}]
)
def test_what_cannot_be_understood_is_told_and_left(state: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        attempt = Attempt(None, state=state)
        attempt.epoch(0)
    assert joules(attempt.finish()) == pytest.approx(WATTS * EPOCH_S)
    assert "counting starts from zero" in caplog.text


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 0.9)), min_size=1, max_size=5))
def test_attempts_add_up_however_often_a_training_is_cut_short(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, float]]
) -> None:
    folder, state, done, spent_s = tmp_path_factory.mktemp("runs"), None, 0, 0.0
    for epochs, part in cuts:
        attempt = Attempt(folder, state=state)
        for _ in range(epochs):
            state, done = attempt.epoch(done), done + 1
        attempt.epoch(done, part)
        report = attempt.finish("failed")
        spent_s += (epochs + part) * EPOCH_S
        assert joules(report) == pytest.approx(WATTS * spent_s)
        assert sum(each.total_j for each in report.attempts) == pytest.approx(joules(report))
        assert len(report.attempts) <= len(cuts)
        assert all(0 <= each.lost_j <= each.total_j for each in report.attempts)
    lost_s = sum(part * EPOCH_S for _, part in cuts[:-1] if round(part * STEPS))
    assert sum(each.lost_j for each in report.attempts) == pytest.approx(
        WATTS * lost_s, abs=1e-6 + WATTS * EPOCH_S / STEPS
    )
