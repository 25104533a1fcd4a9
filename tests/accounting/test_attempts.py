"""A training that is taken up again: virtual time, two devices of known energy."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwatt.files.background import settle
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

    def __init__(
        self,
        output_dir: Path | None,
        host: str = "1",
        state: dict[str, Any] | None = None,
        *,
        gpus: int = 1,
        gpu: str = "Board",
        **site: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.sampler = Sampler(self.clock, threaded=False)
        board = Device("", "gpu", gpu, "measured", "a counter", 0.95, 1.05)
        devices = [replace(board, id=f"gpu:GPU-{host}{number or ''}") for number in range(gpus)]
        meters = [ScriptedCounter(self.clock, lambda time_s: WATTS * time_s, device=each) for each in devices]
        site = site or {"zone": "FR"}
        checked = Settings.check(output_dir=output_dir, run_name="run", verbose=False, **site)
        self.session = Session(checked, found=Found(tuple(meters)), sampler=self.sampler)
        if state is not None:
            self.restore(state)

    def restore(self, state: dict[str, Any]) -> None:
        self.session.load_state_dict(json.loads(json.dumps(state)))  # as a checkpoint keeps it

    def epoch(self, number: int, part: float = 1.0) -> dict[str, Any]:
        self.session.begin("train", epoch=number)
        run_until(self.sampler, self.clock, self.clock.now_s + part * EPOCH_S)
        self.session.step(round(part * STEPS))
        if part == 1.0:
            self.session.end("train")
            self.session.end_epoch()
        return self.session.state_dict()

    def save(self) -> dict[str, Any]:
        return self.session.state_dict()

    def snapshot(self) -> RunSnapshot:
        report = self.session.snapshot()
        assert report is not None
        return report

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
    # The clock is faster than the disk.
    settle()
    del first  # nothing more is written
    whole = Attempt(tmp_path, state=state).finish()
    assert whole.attempts[0].status == "killed"
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


def test_a_run_that_restores_its_own_checkpoint_counts_once() -> None:
    run = Attempt(None)
    start = run.save()
    run.restore(start)  # a finder of the learning rate saves and restores before the first step
    state = run.epoch(0)
    run.epoch(1)
    for _ in range(3):
        run.restore(state)  # the user goes back from a loss of NaN
    assert joules(run.snapshot()) == pytest.approx(2 * WATTS * EPOCH_S)
    run.epoch(1)
    whole = run.finish()
    assert joules(whole) == pytest.approx(3 * WATTS * EPOCH_S)
    assert [each.parent for each in whole.attempts] == [""]
    assert whole.attempts[0].lost_j == pytest.approx(WATTS * EPOCH_S)
    assert whole.total.steps == 3 * STEPS


def test_work_that_is_lost_again_and_again_adds_up() -> None:
    run = Attempt(None)
    first = run.epoch(0)
    run.epoch(1)
    run.restore(first)
    second = run.epoch(1)
    run.epoch(2)
    run.restore(second)
    assert run.snapshot().attempts[0].lost_j == pytest.approx(2 * WATTS * EPOCH_S)
    run.epoch(2)
    run.restore(first)
    whole = run.finish()
    assert joules(whole) == pytest.approx(5 * WATTS * EPOCH_S)
    assert whole.attempts[0].lost_j == pytest.approx(4 * WATTS * EPOCH_S)


def test_a_resumed_run_that_goes_back_to_a_checkpoint_of_its_parent_counts_it_once(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    early = first.epoch(0)
    late = first.epoch(1)
    first.finish("failed")
    second = Attempt(tmp_path, state=late)
    own = second.epoch(2)
    second.restore(early)
    back = second.snapshot()
    assert joules(back) == pytest.approx(3 * WATTS * EPOCH_S)
    assert [each.lost_j for each in back.attempts] == pytest.approx([WATTS * EPOCH_S, WATTS * EPOCH_S])
    second.restore(own)
    assert [each.lost_j for each in second.finish().attempts] == [0, 0]


def test_the_values_within_an_epoch_hold_nothing_of_earlier_attempts() -> None:
    first = Attempt(None)
    state = first.epoch(0)
    second = Attempt(None, state=state)
    second.epoch(1)
    report = second.session.step_snapshot()
    assert report is not None
    assert report.recent.total_j == pytest.approx(WATTS * EPOCH_S)
    assert report.recent.steps == STEPS


def test_of_a_training_that_is_resumed_twice_from_one_checkpoint_every_attempt_counts(tmp_path: Path) -> None:
    first = Attempt(tmp_path)
    state = first.epoch(0)
    first.epoch(1, part=0.5)
    first.finish("failed")
    second = Attempt(tmp_path, state=state)
    second.epoch(1)
    second.finish("failed")
    third = Attempt(tmp_path, state=state)
    third.epoch(1)
    whole = third.finish()
    assert joules(whole) == pytest.approx(3.5 * WATTS * EPOCH_S)
    assert [each.run for each in whole.attempts] == ["run", "run-2", "run-3"]
    assert [each.lost_j for each in whole.attempts] == pytest.approx([0.5 * WATTS * EPOCH_S, WATTS * EPOCH_S, 0])
    root = whole.attempts[0].id
    assert [each.parent for each in whole.attempts] == ["", root, root]
    assert whole.summary()["training"] == root


def test_attempts_in_another_output_directory_than_the_present_one_are_found(tmp_path: Path) -> None:
    first = Attempt(tmp_path / "one")
    state = first.epoch(0)
    first.finish("failed")
    second = Attempt(tmp_path / "one", state=state)
    second.epoch(1)
    second.finish("interrupted")
    third = Attempt(tmp_path / "two", state=state)
    assert joules(third.finish("failed")) == pytest.approx(2 * WATTS * EPOCH_S)
    fourth = Attempt(tmp_path / "two", state=state)
    fourth.epoch(1)
    assert joules(fourth.finish()) == pytest.approx(3 * WATTS * EPOCH_S)


def test_a_branch_that_came_to_its_end_is_no_lost_work_of_another(tmp_path: Path) -> None:
    """Two fine-tunings of one model, the first of them interrupted once; the crash of the second is its own."""
    pretraining = Attempt(tmp_path)
    state = pretraining.epoch(0)
    pretraining.finish()
    one = Attempt(tmp_path, state=state)
    middle = one.epoch(1)
    one.finish("interrupted")
    one = Attempt(tmp_path, state=middle)
    one.epoch(2)
    assert joules(one.finish()) == pytest.approx(3 * WATTS * EPOCH_S)
    other = Attempt(tmp_path, state=state)
    other.epoch(1, part=0.4)
    assert joules(other.finish("failed")) == pytest.approx(1.4 * WATTS * EPOCH_S)
    other = Attempt(tmp_path, state=state)
    other.epoch(1)
    whole = other.finish()
    assert joules(whole) == pytest.approx(2.4 * WATTS * EPOCH_S)
    assert [each.run for each in whole.attempts] == ["run", "run-4", "run-5"]


def test_another_training_in_the_same_folder_is_not_found(tmp_path: Path) -> None:
    other = Attempt(tmp_path)
    other.epoch(0)
    other.finish("failed")
    first = Attempt(tmp_path)
    state = first.epoch(0)
    first.finish("failed")
    assert joules(Attempt(tmp_path, state=state).finish()) == pytest.approx(WATTS * EPOCH_S)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32))
def test_each_attempt_counts_once_in_whatever_way_checkpoints_are_restored(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """All attempts fail. What they drew is summed up here as it is drawn; what is lost, along the tree of steps."""
    folder, chance = tmp_path_factory.mktemp("runs"), random.Random(seed)
    spent_s, useful_s = 0.0, 0.0
    saved: list[tuple[dict[str, Any], float]] = []  # the state, and the useful seconds that it stands for
    for number in range(chance.randint(1, 5)):
        state, useful_s = chance.choice(saved) if saved else (None, 0.0)
        run = Attempt(folder, str(chance.randint(1, 2)), state)
        for epoch in range(chance.randint(0, 4)):
            saved.append((run.epoch(epoch), useful_s + EPOCH_S))
            spent_s, useful_s = spent_s + EPOCH_S, useful_s + EPOCH_S
            if chance.random() < 0.4:
                state, useful_s = chance.choice(saved)
                run.restore(state)
        if number == 0 and not saved:
            saved.append((run.save(), 0.0))
        report = run.finish("failed")
        assert joules(report) == pytest.approx(WATTS * spent_s)
        assert sum(each.total_j for each in report.attempts) == pytest.approx(WATTS * spent_s)
        assert sum(each.lost_j for each in report.attempts) == pytest.approx(WATTS * (spent_s - useful_s), abs=1e-6)
        assert len({each.id for each in report.attempts}) == len(report.attempts)


def test_each_attempt_is_priced_at_its_own_place(tmp_path: Path) -> None:
    alone = [Attempt(None, zone=zone, gpu="NVIDIA A100", gpus=gpus) for zone, gpus in (("PL", 8), ("SE", 1))]
    for each in alone:
        each.epoch(0)
    there, here = (each.finish().footprint for each in alone)
    first = Attempt(tmp_path, zone="PL", gpu="NVIDIA A100", gpus=8)
    first.session.plan(Plan(epochs=3, steps_per_epoch=STEPS))
    state = first.epoch(0)
    first.finish("interrupted")
    second = Attempt(tmp_path, "2", state, zone="SE", gpu="NVIDIA A100")
    second.session.plan(Plan(epochs=2, steps_per_epoch=STEPS, first_epoch=1, first_step=STEPS))
    second.epoch(1)
    report = second.snapshot()
    whole, summary = report.footprint, report.summary()
    assert there.embodied_kg is not None
    assert here.embodied_kg is not None
    assert whole.embodied_kg == there.embodied_kg.plus(here.embodied_kg)
    assert there.embodied_kg.central == pytest.approx(8 * here.embodied_kg.central)
    for end in ("low", "central", "high"):
        for figure in ("co2e_kg", "water_l", "facility_kwh"):
            parts = [getattr(getattr(each, figure), end) for each in (there, here)]
            assert getattr(getattr(whole, figure), end) == pytest.approx(sum(parts)), (figure, end)
    assert whole.co2e_kg.central > 20 * here.co2e_kg.central
    assert report.metrics()["footprint/co2e_kg"] == pytest.approx(whole.co2e_kg.central)
    assert [each["site"]["zone"] for each in summary["attempts"]] == ["PL", "SE"]
    # one more epoch is to come, at the present place
    expected_kg = there.co2e_kg.central + 2 * here.co2e_kg.central
    assert report.metrics()["projection/co2e_kg"] == pytest.approx(expected_kg, rel=1e-6)
    assert summary["projection"]["co2e_kg"]["central"] == pytest.approx(expected_kg, rel=1e-6)
    assert "in earlier attempts: 2.22 Wh in Poland at" in summary_view(summary).text()
    intensities = [each["note"] for each in summary["footprint"]["factors"] if each["name"] == "carbon intensity"]
    assert [("of an earlier attempt" in note) for note in intensities] == [False, True]


def test_the_place_of_each_attempt_survives_several_resumes(tmp_path: Path) -> None:
    state, spent_kg = None, 0.0
    for number, zone in enumerate(("PL", "SE", "PL", "FR")):
        alone = Attempt(None, zone=zone)
        alone.epoch(0)
        spent_kg += alone.finish().footprint.co2e_kg.central
        run = Attempt(tmp_path, state=state, zone=zone)
        state = run.epoch(number)
        assert run.finish("failed").footprint.co2e_kg.central == pytest.approx(spent_kg)


def test_costs_in_two_currencies_are_kept_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Attempt(tmp_path, zone="US", tariff=0.9)
    state = first.epoch(0)
    first.finish("failed")
    second = Attempt(tmp_path, state=state, zone="FR", tariff=2.0)
    second.epoch(1)
    report = second.finish("failed")
    assert report.footprint.cost is None
    assert "footprint/cost" not in report.metrics()
    assert "costs in USD (earlier attempts) and EUR do not add up" in caplog.text
    costs = [(each.footprint or {})["cost"]["central"] for each in report.attempts]
    pue = report.site.pue.value
    assert costs == pytest.approx([0.9 * pue * WATTS * EPOCH_S / 3.6e6, 2.0 * pue * WATTS * EPOCH_S / 3.6e6])
    assert "cost by currency: " in summary_view(report.summary()).text()
    third = Attempt(tmp_path, state=state, zone="US", tariff=1.8)
    third.epoch(1)
    assert third.finish().footprint.cost is None


def test_costs_in_one_currency_add_up(tmp_path: Path) -> None:
    first = Attempt(tmp_path, zone="FR", tariff=0.1)
    state = first.epoch(0)
    first.finish("failed")
    second = Attempt(tmp_path, state=state, zone="FR", tariff=0.3)
    second.epoch(1)
    report = second.finish()
    assert report.footprint.cost is not None
    assert report.footprint.cost.central == pytest.approx(0.4 * report.site.pue.value * WATTS * EPOCH_S / 3.6e6)
    assert report.metrics()["footprint/cost"] == pytest.approx(report.footprint.cost.central)


def older(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state as version 0.1 wrote it."""
    kept = ("run", "began", "status", "seconds", "total_j", "lost_j")
    known = {name: value for name, value in state.items() if name not in ("id", "training")}
    if "site" not in state:  # of a checkpoint
        del known["footprint"]
    return {**known, "attempts": [{name: each[name] for name in kept} for each in state["attempts"]]}


def test_a_checkpoint_of_an_older_version_is_priced_here_with_a_note() -> None:
    first = Attempt(None, zone="PL")
    second = Attempt(None, state=older(first.epoch(0)), zone="SE")
    second.epoch(1)
    third = Attempt(None, state=second.save(), zone="FR")
    alone = Attempt(None, zone="SE")
    alone.epoch(0)
    whole = third.finish()
    assert joules(whole) == pytest.approx(2 * WATTS * EPOCH_S)
    assert whole.footprint.co2e_kg.central == pytest.approx(2 * alone.finish().footprint.co2e_kg.central)
    assert [each.note != "" for each in whole.attempts] == [True, False, False]


def test_a_summary_of_an_older_version_keeps_the_price_that_it_had(tmp_path: Path) -> None:
    first = Attempt(tmp_path, zone="PL")
    state = first.epoch(0)
    first.finish("failed")
    second = Attempt(tmp_path, state=state, zone="PL")
    second.epoch(1)
    second.finish("failed")
    written = read_summary(tmp_path / "run-2")
    third = Attempt(None, state=older(written), zone="SE").finish()
    assert joules(third) == pytest.approx(2 * WATTS * EPOCH_S)
    assert third.footprint.co2e_kg.central == pytest.approx(written["footprint"]["co2e_kg"]["central"])
    assert [each.total_j for each in third.attempts] == pytest.approx([WATTS * EPOCH_S, WATTS * EPOCH_S, 0])
