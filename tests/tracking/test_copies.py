"""Copies of what measures: idle, with the settings and the last summary, and without harm to the original."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainwatt import GreenStopper, Sink, Tracker, measure
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.live.provider import Query
from trainwatt.testing import ConstantCounter, VirtualClock, VirtualTracker

Copy = Callable[[Any], Any]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def cloudpickled(value: Any) -> Any:
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(value))


def saved_by_torch(value: Any) -> Any:
    import io  # noqa: PLC0415

    torch, file = pytest.importorskip("torch"), io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = (copy.copy, copy.deepcopy, pickled, cloudpickled, saved_by_torch)


class Callback:
    """A framework's callback, as far as copies are concerned."""

    def __init__(self, folder: Path | None) -> None:
        self._run = Lifecycle(self.write, zone="FR", output_dir=folder, run_name="run", devices=("ram",), verbose=True)
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


class Unpicklable(Sink):
    """A sink that holds a lock and a file, and a reference to its tracker."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.run: Tracker | None = None
        self.summaries: list[str] = []

    def on_summary(self, summary: Any) -> None:
        self.summaries.append(summary["run"])


class Live:
    """A live source that holds a lock."""

    name, basis, key, country = "own", "lifecycle", "own", None
    refresh_s, carry_s, timeout_s = 100.0, 3600.0, 1.0

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def at(self, zone: str) -> Live:
        return self

    def actual(self, now_s: float) -> Sequence[Query]:
        return ()

    def forecast(self, now_s: float) -> Sequence[Query]:
        return ()


@pytest.mark.parametrize("made", COPIES)
@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_a_copy_is_idle_and_the_original_goes_on(made: Copy, moment: str, tmp_path: Path) -> None:
    original = Callback(tmp_path)
    if moment != "before":
        original._run.open()
        original._run.begin_epoch(0)
        original._run.step()
    if moment == "after":
        original._run.close("finished")
    twin = made(original)
    if made is not copy.copy:  # a shallow copy of a callback shares its parts
        assert twin._run is not original._run
        assert not twin._run.running
        assert not twin._run.in_epoch
        assert dict(twin._run.summary) == dict(original._run.summary if moment == "after" else {})
        twin._run.open()
        twin._run.step(5)
        twin._run.close("finished")
        assert twin._run.summary["run"] == ("run" if moment == "before" else "run-2")
        del twin
    assert original._run.running == (moment == "within")
    if moment == "within":
        original._run.step()
        original._run.close("finished")
        assert original._run.summary["phases"]["train"]["steps"] == 2
        assert original._run.summary["status"] == "finished"


@pytest.mark.parametrize("made", COPIES)
def test_what_cannot_be_copied_stays_with_the_original(
    made: Copy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Unpicklable()
    run = measure(
        sinks=(sink,), zone="FR", carbon_intensity=Live(), output_dir=tmp_path, devices=("ram",), verbose=False
    )
    sink.run = run
    with run:
        twin = made(run)
        again = made(run)
        with twin:
            pass
        assert not again.running
    told = [record.getMessage() for record in caplog.records if "copy" in record.getMessage()]
    assert len(told) == (0 if made in (copy.copy, copy.deepcopy) else 2)
    assert twin.summary["status"] == run.summary["status"] == "finished"
    assert run.summary["run"] in sink.summaries


@pytest.mark.parametrize("made", COPIES)
def test_a_session_and_a_stopper_and_a_virtual_tracker_are_copied(made: Copy) -> None:
    clock = VirtualClock()
    run = VirtualTracker(clock, [ConstantCounter(clock, watts=100.0)], zone="FR")
    stopper = GreenStopper("max", devices=("ram",))
    with run, stopper:
        run.advance(1.0)
        stopper.evaluate(0.5, done=0.5)
        assert not made(run._session).running
        twin = made(run)
        assert made(stopper).spent_kwh >= 0
    with twin:
        twin.advance(2.0)
    assert twin.summary["seconds"] == pytest.approx(2.0)
    assert run.summary["seconds"] == pytest.approx(1.0, abs=0.6)


def train(run: Tracker) -> None:
    with run:
        for _ in run.epochs(2):
            run.step(3)


METHODS = [each for each in ("spawn", "fork") if each in multiprocessing.get_all_start_methods()]


@pytest.mark.parametrize("method", METHODS)
def test_the_summary_of_a_copys_run_in_another_process_is_read_back(method: str, tmp_path: Path) -> None:
    run = measure(zone="FR", output_dir=tmp_path, run_name="run", devices=("ram",), verbose=False)
    other = measure(zone="FR", output_dir=tmp_path, run_name="run", devices=("ram",), verbose=False)
    assert run.summary == {}
    for name in ("run", "run-2"):
        process = multiprocessing.get_context(method).Process(target=train, args=(run,))
        process.start()
        process.join()
        assert (run.summary["run"], run.summary["status"], run.summary["epochs"]) == (name, "finished", 2)
        assert run.summary.folder == tmp_path / name
        # "began" has milliseconds
        time.sleep(0.01)
    assert other.summary == {}
    train(run)
    assert run.summary["run"] == "run-3"


def test_a_copy_in_the_same_process_has_a_summary_of_its_own(tmp_path: Path) -> None:
    run = measure(zone="FR", output_dir=tmp_path, run_name="run", devices=("ram",), verbose=False)
    twin = pickled(run)
    train(twin)
    assert run.summary == {}
    train(run)
    assert (twin.summary["run"], run.summary["run"]) == ("run", "run-2")


def test_reading_back_costs_nothing_where_no_folder_is_new(tmp_path: Path) -> None:
    run = measure(zone="FR", output_dir=tmp_path, run_name="run", devices=("ram",), verbose=False)
    train(run)
    began_s = time.perf_counter()
    for _ in range(100):
        assert run.summary["run"] == "run"
    assert time.perf_counter() - began_s < 1.0, sys.version
