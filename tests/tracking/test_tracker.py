from __future__ import annotations

import time
from pathlib import Path

import pytest

from trainwatt import Tracker, measure
from trainwatt.errors import ArgumentError
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events, read_summary


@pytest.fixture
def run(tmp_path: Path) -> Tracker:
    return measure(zone="FR", output_dir=tmp_path, run_name="run", verbose=False)


def test_a_block_of_code_is_measured(run: Tracker, tmp_path: Path) -> None:
    with run:
        sum(range(100_000))
    assert run.summary["status"] == "finished"
    assert run.summary["total_j"] > 0
    assert read_summary(tmp_path / "run") == run.summary


def test_a_loop_of_ones_own_has_epochs_steps_and_evaluations(run: Tracker, tmp_path: Path) -> None:
    with run:
        for epoch in run.epochs(3):
            for _ in range(5):
                run.step()
            with run.phase("validate"):
                assert epoch in (0, 1, 2)
    phases = run.summary["phases"]
    assert (phases["train"]["entries"], phases["train"]["steps"], phases["validate"]["entries"]) == (3, 15, 3)
    assert run.summary["epochs"] == 3
    spans = [event for event in read_events(tmp_path / "run") if event["event"] == "span"]
    assert {event["epoch"] for event in spans if event["phase"] == "train"} == {0, 1, 2}


def test_a_loop_of_ones_own_is_projected_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with measure(zone="FR", output_dir=None) as run:
        for _ in run.epochs(6, first=2):
            for _ in range(5):
                run.step()
    assert "trainwatt: epoch 3 of 6; whole run about " in capsys.readouterr().out
    assert run.summary["projection"]["steps"] == 20
    assert run.summary["projection"]["remaining_s"] == 0


def test_start_and_stop_serve_those_who_cannot_indent(run: Tracker) -> None:
    assert run.start().running
    run.begin("train")
    run.end("train")
    report = run.stop()
    assert report is not None
    assert report.summary() == run.summary
    assert not run.running
    assert run.stop() is None


@pytest.mark.parametrize(
    ("error", "status"),
    [(ZeroDivisionError, "failed"), (KeyboardInterrupt, "interrupted"), (SystemExit, "interrupted")],
)
def test_an_error_goes_through_and_is_recorded(run: Tracker, error: type[BaseException], status: str) -> None:
    def train() -> None:
        with run:
            for _ in run.epochs(3):
                raise error

    with pytest.raises(error):
        train()
    assert run.summary["status"] == status
    assert run.summary["phases"]["train"]["entries"] == 1


def test_leaving_the_loop_early_ends_its_epoch(run: Tracker) -> None:
    with run:
        for epoch in run.epochs(10):
            if epoch == 2:
                break
        with run.phase("test"):
            pass
    assert run.summary["phases"]["train"]["entries"] == 3
    assert run.summary["phases"]["test"]["entries"] == 1


def test_the_same_object_measures_one_run_after_another(run: Tracker) -> None:
    names = []
    for _ in range(2):
        with run:
            run.begin("train")
        names.append(run.summary["run"])
    assert names == ["run", "run-2"]


def test_runs_may_be_nested(tmp_path: Path) -> None:
    with measure(output_dir=None, verbose=False) as outer:
        with measure(output_dir=None, verbose=False) as inner:
            sum(range(200_000))
        sum(range(200_000))
    assert 0 < inner.summary["seconds"] < outer.summary["seconds"]
    assert 0 < inner.summary["total_j"] < outer.summary["total_j"]


def test_what_is_not_running_is_silently_not_measured(run: Tracker) -> None:
    run.begin("train")
    run.step()
    run.end("train")
    assert run.end_epoch() is run.snapshot() is run.step_snapshot() is None
    assert run.summary == {}


def test_a_bad_argument_is_told_before_anything_runs() -> None:
    with pytest.raises(ArgumentError, match="interval=0"):
        measure(interval=0)
    with pytest.raises(TypeError, match="intervall"):
        measure(intervall=1.0)  # type: ignore[call-arg]


def test_the_summary_is_printed_where_it_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with measure(output_dir=tmp_path, run_name="loud"):
        pass
    assert "trainwatt: loud finished after" in capsys.readouterr().out


def test_use_after_a_training_is_weighed_against_it() -> None:
    run = measure(zone="FR", output_dir=None, verbose=False, expected_requests=1000)
    with run:
        for _ in run.epochs(1):
            time.sleep(0.3)
    assert run.summary["lifetime"] is None
    trained_kwh = run.summary["total_kwh"]
    run.start("predict")
    with run.phase("predict"):
        time.sleep(0.3)
        run.count(10)
    run.stop()
    life = run.summary["lifetime"]
    assert life["training_kwh"] == trained_kwh
    assert life["request_j"] == pytest.approx(sum(run.summary["phases"]["predict"]["joules"].values()) / 10)
    assert life["break_even_requests"] == pytest.approx(trained_kwh * 3.6e6 / life["request_j"])
    assert 0 < life["training_share"] < 1


def test_samples_of_which_some_are_not_known_are_not_known() -> None:
    with measure(zone="FR", output_dir=None, verbose=False) as run:
        run.count(5)
        run.count(None)
        run.count(5)
    assert run.summary["samples"] is None


def test_an_epoch_without_training_is_measured_and_not_projected(caplog: pytest.LogCaptureFixture) -> None:
    with measure(zone="FR", output_dir=None, verbose=False, devices=["ram"]) as run:
        run.plan(Plan(epochs=3))
        with run.phase("validate"):
            pass
        snapshot = run.end_epoch()
    assert snapshot is not None
    assert snapshot.projection is None
    assert run.summary["status"] == "finished"
    assert not caplog.records
