from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from trainwatt import Tracker, measure, read_run
from trainwatt.errors import ArgumentError
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events, read_summary
from trainwatt.testing import ConstantCounter, VirtualClock, VirtualTracker


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
    assert report.summary() == {name: value for name, value in run.summary.items() if name != "written"}
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


@pytest.mark.parametrize("name", ["eval", "load data", None])
def test_a_phase_of_an_unknown_name_is_told_at_once(run: Tracker, name: str) -> None:
    calls = (run.begin, run.end, run.phase)
    for call in calls:
        with pytest.raises(ArgumentError, match=r'phase=.*"validate"'):
            call(name)  # type: ignore[arg-type, operator]
    with run:
        for call in calls:
            with pytest.raises(ArgumentError, match=r'phase=.*"validate"'):
                call(name)  # type: ignore[arg-type, operator]
        with pytest.raises(ArgumentError, match="epoch="):
            run.begin("train", epoch="first")  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="name="):
            run.part("")
    assert run.summary["status"] == "finished"
    assert set(run.summary["phases"]) == {"other"}


def test_parts_of_ones_own_are_counted_in_their_phase_and_shown_apart(tmp_path: Path) -> None:
    clock = VirtualClock()
    meters = [ConstantCounter(clock, watts=100.0)]
    with VirtualTracker(clock, meters, zone="FR", output_dir=tmp_path, run_name="run") as run:

        @run.part("evaluation")
        def evaluate() -> None:
            with run.phase("validate"):
                run.advance(5)

        for _ in run.epochs(2):
            with run.part("data loading"):
                run.advance(3)
            run.advance(7)
            evaluate()
    train, validate = run.summary["phases"]["train"], run.summary["phases"]["validate"]
    loading, evaluation = train["labels"]["data loading"], validate["labels"]["evaluation"]
    assert sum(train["joules"].values()) == pytest.approx(2000, rel=0.01)
    assert sum(loading["joules"].values()) == pytest.approx(600, rel=0.02)
    assert loading["entries"] == 2
    assert sum(evaluation["joules"].values()) == pytest.approx(1000, rel=0.02)
    read = read_run(tmp_path / "run")
    assert read.summary["phases"]["train"]["labels"]["data loading"] == loading
    spans = [event for event in read.events if event["event"] == "span" and event["phase"] == "train"]
    assert [sum(span["labels"]["data loading"]["joules"].values()) for span in spans] == pytest.approx(
        [300] * 2, rel=0.02
    )
    text = run.summary.text()
    assert "train: data loading" in text
    assert "validate: evaluation" in text


def test_the_rows_of_parts_add_up_to_the_run(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    clock = VirtualClock()
    meters = [ConstantCounter(clock, watts=100.0)]
    with VirtualTracker(clock, meters, zone="FR", output_dir=tmp_path, run_name="run") as run:
        for _ in run.epochs(2):
            with run.part("data loading"):
                run.advance(3)
            run.step(4)
            run.advance(7)
    frame = read_run(tmp_path / "run").to_pandas()
    assert frame["joules"].sum() == pytest.approx(run.summary["total_j"])
    assert frame["steps"].sum() == 8
    assert list(frame[frame["part"] == "data loading"]["joules"]) == pytest.approx([300, 300], rel=0.02)


def test_a_phase_in_a_thread_is_charged_whatever_the_main_thread_does() -> None:
    with measure(zone="FR", output_dir=None, verbose=False, devices=["ram"]) as run:
        begun, ended = threading.Event(), threading.Event()

        def evaluate() -> None:
            with run.phase("validate"):
                begun.set()
                ended.wait(5)

        thread = threading.Thread(target=evaluate)
        run.begin("train")
        thread.start()
        assert begun.wait(5)
        run.end("train")
        time.sleep(0.5)
        ended.set()
        thread.join()
    assert run.summary["phases"]["validate"]["seconds"] == pytest.approx(0.5, abs=0.2)
    assert run.summary["phases"]["other"]["seconds"] < 0.2


def test_a_resumed_training_keeps_its_parts() -> None:
    state: dict[str, Any] = {}
    for _ in range(2):
        clock = VirtualClock()
        with VirtualTracker(clock, [ConstantCounter(clock, watts=100.0)], zone="FR") as run:
            run.load_state_dict(state)
            with run.phase("train"), run.part("augmentation"):
                run.advance(10)
            state = run.state_dict()
    part = run.summary["phases"]["train"]["labels"]["augmentation"]
    assert sum(part["joules"].values()) == pytest.approx(2000, rel=0.02)
    assert part["entries"] == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_neither_counts_nor_waits() -> None:
    """A data loader's worker that was forked while another thread was in the midst of a measurement."""
    with measure(zone="FR", output_dir=None, verbose=False, devices=["ram"]) as run:
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with run._session._lock:  # type: ignore[union-attr]
                held.set()
                release.wait(10)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(5)
        worker = os.fork()
        if worker == 0:
            with run.part("augmentation"), run.phase("train"):
                os._exit(7)
        deadline_s = time.monotonic() + 10
        ended, status = 0, 0
        while not ended and time.monotonic() < deadline_s:
            ended, status = os.waitpid(worker, os.WNOHANG)
            time.sleep(0.02)
        release.set()
        thread.join()
        if not ended:
            os.kill(worker, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(status) == 7
    assert set(run.summary["phases"]) == {"other"}
