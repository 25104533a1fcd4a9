"""Several loops of epochs in one run: folds, restored checkpoints, and numbers of any kind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwatt import Sink, Tracker, measure
from trainwatt.errors import ArgumentError
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.reporting.messages import projection_text
from trainwatt.testing import ConstantCounter, VirtualClock, VirtualTracker

WATTS = 100.0


def tracker(**options: Any) -> VirtualTracker:
    clock = VirtualClock()
    return VirtualTracker(clock, [ConstantCounter(clock, watts=WATTS)], zone="FR", **options)


def spans_of(folder: Path) -> list[dict[str, Any]]:
    return [event for event in read_events(folder) if event["event"] == "span"]


def joules_of(spans: list[dict[str, Any]]) -> dict[tuple[int, int], float]:
    """Return the joules of each epoch by loop and number."""
    found: dict[tuple[int, int], float] = {}
    for span in spans:
        key = (span["loop"], span["epoch"])
        found[key] = found.get(key, 0.0) + sum(span["joules"].values())
    return found


def fold(run: VirtualTracker, epochs: int, *, steps: int = 0, first: int = 0) -> list[RunSnapshot]:
    """Train for some epochs of 1000 J each, and return the snapshot at the end of each."""
    snapshots = []
    run.plan(Plan(epochs=epochs - first, first_epoch=first), from_now=True)
    for epoch in range(first, epochs):
        run.begin("train", epoch=epoch)
        for _ in range(max(steps, 1)):
            run.advance(1000 / WATTS / max(steps, 1))
            run.step(1 if steps else 0)
        run.end("train")
        snapshot = run.end_epoch()
        assert snapshot is not None
        snapshots.append(snapshot)
    return snapshots


@pytest.mark.parametrize("steps", [0, 20])
def test_folds_have_epochs_of_their_own(steps: int, tmp_path: Path) -> None:
    with tracker(output_dir=tmp_path, run_name="run") as run:
        snapshots = [snapshot for _ in range(3) for snapshot in fold(run, 4, steps=steps)]
    epochs_j = [sum(span.total_j for span in snapshot.epoch.values()) for snapshot in snapshots]
    assert epochs_j == pytest.approx([1000] * 12, rel=0.01)
    assert run.summary["epochs"] == 12
    spans = spans_of(tmp_path / "run")
    written_j = joules_of(spans)
    assert {key: written_j[key] for key in [(loop, epoch) for loop in range(3) for epoch in range(4)]} == pytest.approx(
        {(loop, epoch): 1000 for loop in range(3) for epoch in range(4)}, rel=0.01
    )
    assert sum(written_j.values()) == pytest.approx(run.summary["total_j"])
    assert sorted({span["index"] for span in spans if span["phase"] == "train"}) == list(range(12))


@pytest.mark.parametrize("steps", [0, 20])
def test_the_projection_is_of_all_that_was_and_of_the_rest_of_this_fold(steps: int) -> None:
    with tracker() as run:
        snapshots = [snapshot for _ in range(3) for snapshot in fold(run, 4, steps=steps)]
    whole_j = []
    for snapshot in snapshots:
        projection = snapshot.projection
        assert projection is not None
        whole_j.append(projection.energy_kwh.central * 3.6e6)
        so_far = snapshot.energy_kwh.central
        assert so_far <= projection.energy_kwh.low * 1.0001
        assert projection.energy_kwh.low <= projection.energy_kwh.central <= projection.energy_kwh.high
    assert whole_j == pytest.approx([4000] * 4 + [8000] * 4 + [12_000] * 4, rel=0.02)
    assert [snapshot.projection.epochs for snapshot in snapshots if snapshot.projection] == list(range(1, 13))


def test_a_fold_is_projected_before_its_first_epoch_has_ended() -> None:
    with tracker() as run:
        fold(run, 4, steps=20)
        run.plan(Plan(epochs=4), from_now=True)
        run.begin("train", epoch=0)
        for _ in range(10):
            run.advance(0.5)
            run.step()
        snapshot = run.step_snapshot()
    assert snapshot is not None
    assert snapshot.projection is not None
    assert snapshot.projection.energy_kwh.central * 3.6e6 == pytest.approx(8000, rel=0.02)


def test_a_loop_unlike_the_one_before_is_projected_from_its_own_epochs() -> None:
    """A training of long steps, then one of short ones."""
    with tracker() as run:
        fold(run, 10, steps=20)
        run.plan(Plan(epochs=10), from_now=True)
        for epoch in range(3):
            run.begin("train", epoch=epoch)
            for _ in range(20):
                run.advance(0.05)
                run.step()
            run.end("train")
            snapshot = run.end_epoch()
    assert snapshot is not None
    assert snapshot.projection is not None
    assert snapshot.projection.energy_kwh.central * 3.6e6 == pytest.approx(10_000 + 10 * 100, rel=0.01)


@pytest.mark.parametrize("steps", [0, 20])
def test_work_that_a_restored_checkpoint_repeats_is_still_to_be_done(steps: int) -> None:
    numbers = [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7]
    projected_j = []
    with tracker() as run:
        run.plan(Plan(epochs=8))
        for number in numbers:
            run.begin("train", epoch=number)
            for _ in range(steps or 1):
                run.advance(10 / (steps or 1))
                run.step(1 if steps else 0)
            run.end("train")
            snapshot = run.end_epoch()
            assert snapshot is not None
            assert snapshot.projection is not None
            projected_j.append(snapshot.projection.energy_kwh.central * 3.6e6)
    assert projected_j == pytest.approx([8000] * 5 + [11_000] * 6, rel=0.02)


@pytest.mark.parametrize("numbers", [[5, 6, 7, 8], [0, 2, 4, 6], [3, 3, 3, 3], [10, 20, 40, 41]])
def test_numbers_that_skip_or_stay_count_as_completed_epochs(numbers: list[int]) -> None:
    with tracker() as run:
        run.plan(Plan(epochs=4))
        for done, number in enumerate(numbers, start=1):
            run.begin("train", epoch=number)
            run.advance(10)
            run.end("train")
            snapshot = run.end_epoch()
            assert snapshot is not None
            assert snapshot.projection is not None
            assert snapshot.projection.remaining_s == pytest.approx(10 * (4 - done), rel=0.02)


def test_a_fold_that_was_left_early_shares_no_epoch_with_the_next(tmp_path: Path) -> None:
    with tracker(output_dir=tmp_path, run_name="run") as run:
        for _ in range(2):
            for _ in run.epochs(5):
                run.advance(10)
                break
        for _ in run.epochs(1):
            run.advance(10)
    written_j = joules_of(spans_of(tmp_path / "run"))
    assert [written_j[loop, 0] for loop in range(3)] == pytest.approx([1000] * 3, rel=0.01)


class Announced(Sink):
    """Collects what is said about the whole run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_projection(self, snapshot: RunSnapshot, *, again: bool) -> None:
        self.lines.append(projection_text(snapshot, again=again))


def test_further_folds_print_no_line() -> None:
    announced = Announced()
    with tracker(sinks=[announced]) as run:
        for _ in range(5):
            fold(run, 4)
    assert [line.partition(" about")[0] for line in announced.lines] == ["trainwatt: epoch 1 of 4; whole run"]


def test_the_line_of_a_further_fold_counts_its_epochs() -> None:
    announced = Announced()
    with tracker(sinks=[announced]) as run:
        fold(run, 10)
        fold(run, 20)
        run.plan(Plan(epochs=40), from_now=True)
        for epoch, seconds in enumerate([10, 10, 100, 100]):
            run.begin("train", epoch=epoch)
            run.advance(seconds)
            run.end("train")
            run.end_epoch()
    assert announced.lines[1].startswith("trainwatt: epoch 3 of 40; whole run now about ")


def test_events_name_the_epoch_and_the_fold(tmp_path: Path) -> None:
    with tracker(output_dir=tmp_path, run_name="run") as run:
        for _ in range(2):
            for _ in run.epochs(2, first=1):
                run.advance(1)
                run.metric("val_acc", 0.5)
    scores = [event for event in read_events(tmp_path / "run") if event["event"] == "score"]
    assert [(event["loop"], event["epoch"], event["index"]) for event in scores] == [(0, 1, 0), (1, 1, 1)]


EVENTS = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(["train", "validate"]), st.none() | st.integers(-2, 5)),
    st.tuples(st.just("end"), st.sampled_from(["train", "validate"])),
    st.tuples(st.just("advance"), st.floats(0, 3)),
    st.tuples(st.just("end_epoch")),
    st.tuples(st.just("epochs"), st.integers(0, 3), st.integers(0, 4)),
    st.tuples(st.just("part"), st.sampled_from(["load", "augment"]), st.floats(0, 2)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(EVENTS, max_size=25))
def test_events_hold_all_joules_whatever_the_numbers_of_epochs(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    closed = 0
    with tracker(output_dir=folder, run_name="run") as run:
        for name, *arguments in events:
            if name == "begin":
                run.begin(arguments[0], epoch=arguments[1])
            elif name == "epochs":
                first, count = arguments
                for _ in run.epochs(first + count, first=first):
                    run.advance(0.7)
                    closed += 1
            elif name == "part":
                with run.part(arguments[0]):
                    run.advance(arguments[1])
            else:
                closed += name == "end_epoch"
                getattr(run, name)(*arguments)
    spans, summary = spans_of(folder / "run"), run.summary
    assert summary["epochs"] == closed
    assert sum(sum(span["joules"].values()) for span in spans) == pytest.approx(summary["total_j"], rel=1e-6, abs=1e-6)
    assert sum(span["seconds"] for span in spans) == pytest.approx(summary["seconds"], abs=1e-6)
    assert summary["total_j"] == pytest.approx(WATTS * summary["seconds"], rel=0.01, abs=0.2 * WATTS)
    assert len({(span["index"], span["phase"]) for span in spans}) == len(spans)
    labels = {span["index"]: (span["loop"], span["epoch"]) for span in spans}
    assert len(set(labels.values())) == len(labels)


def test_a_loop_of_no_whole_number_is_told_before_it_begins() -> None:
    run = tracker()
    for arguments in ((1.5,), ("3",), (3, None)):
        with pytest.raises(ArgumentError, match="whole number"):
            run.epochs(*arguments)


def test_a_fold_in_real_time_has_its_own_epochs(tmp_path: Path) -> None:
    run: Tracker = measure(zone="FR", output_dir=tmp_path, run_name="run", verbose=False, devices=["ram"])
    with run:
        for _ in range(2):
            for _ in run.epochs(2):
                time.sleep(0.05)
    assert sorted(key for key in joules_of(spans_of(tmp_path / "run"))) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
