"""Runs that nobody is left to end: they end with their owner, or before the next run begins."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainwatt import Tracker, measure, read_run
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.tracking import session_registry


@pytest.fixture(autouse=True)
def none_before() -> Iterator[None]:
    gc.collect()
    yield
    sys.last_value = None  # type: ignore[assignment]
    gc.collect()


def tracker(folder: Path) -> Tracker:
    return measure(zone="FR", output_dir=folder, run_name="run", devices=("ram",), verbose=False)


def running() -> list[str]:
    return sorted(session.name for session in session_registry._sessions)


class Callback:
    """A callback that refers to its trainer, which refers to it."""

    def __init__(self, folder: Path) -> None:
        self._run = Lifecycle(self.write, zone="FR", output_dir=folder, run_name="run", devices=("ram",))
        self.trainer: Trainer | None = None

    def write(self, line: str) -> None:
        pass


class Trainer:
    """A framework's trainer, whose call ends without a hook if it is interrupted."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        callback.trainer = self

    def trackers(self) -> list[Any]:
        return []

    def fit(self, error: type[BaseException] | None = None) -> None:
        run = self.callback._run
        run.open(call=sys._getframe(), experiment_trackers=self.trackers)
        run.begin_epoch(0)
        run.step()
        if error is not None:
            raise error
        run.close("finished")


def test_a_run_whose_owner_is_freed_ends_as_interrupted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tracker(tmp_path).start()
    run.begin("train")
    run.step(3)
    del run
    gc.collect()
    assert running() == []
    found = read_run(tmp_path / "run")
    assert (found.status, found.summary["phases"]["train"]["steps"]) == ("interrupted", 3)
    assert len([each for each in caplog.records if "was abandoned" in each.getMessage()]) == 1


def test_five_interrupted_trainings_leave_no_live_run(tmp_path: Path) -> None:
    for _ in range(5):
        trainer = Trainer(Callback(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(KeyboardInterrupt)
    assert len(running()) == 1
    kept = [trainer]
    Trainer(Callback(tmp_path)).fit()
    assert running() == []
    statuses = {path.name: read_run(path).status for path in tmp_path.iterdir()}
    assert sorted(statuses.values()) == ["finished", *["interrupted"] * 5]
    assert not kept[0].callback._run.snapshot() or kept[0].callback._run.snapshot().status == "interrupted"  # type: ignore[union-attr]


def test_a_run_within_its_call_is_not_abandoned(tmp_path: Path) -> None:
    outer, inner = Callback(tmp_path), Trainer(Callback(tmp_path))

    def fit() -> None:
        outer._run.open(call=sys._getframe())
        inner.fit()
        assert outer._run.running
        outer._run.close("finished")

    fit()
    assert {read_run(path).status for path in tmp_path.iterdir()} == {"finished"}


def test_the_same_callback_opened_again_ends_its_older_run_first(tmp_path: Path) -> None:
    callback = Callback(tmp_path)
    callback._run.open()
    callback._run.open()
    assert running() == ["run-2"]
    callback._run.close("finished")
    assert (read_run(tmp_path / "run").status, read_run(tmp_path / "run-2").status) == ("interrupted", "finished")


def cell(source: str, names: dict[str, Any]) -> None:
    """Run a cell as a notebook does: an error ends the cell, and hangs in ``sys.last_value``."""
    try:
        exec(compile(source, "<cell>", "exec"), names)
    except Exception as error:  # noqa: BLE001
        sys.last_value = error


CELL = """
def train():
    run = measure(zone="FR", output_dir=folder, run_name="run", devices=("ram",), verbose=False).start()
    run.begin("train", epoch=0)
    if fails:
        raise ValueError("a typo")
    run.stop()
train()
"""


def test_a_cell_that_is_run_again_after_an_error_ends_the_run_of_before(tmp_path: Path) -> None:
    names: dict[str, Any] = {"measure": measure, "folder": tmp_path, "fails": True}
    cell(CELL, names)
    assert running() == ["run"]
    cell(CELL, names)
    assert running() == ["run-2"]
    cell(CELL, {**names, "fails": False})
    assert running() == []
    assert [read_run(tmp_path / name).status for name in ("run", "run-2", "run-3")] == [
        "interrupted",
        "interrupted",
        "finished",
    ]


def test_a_run_that_goes_on_over_several_cells_is_not_abandoned(tmp_path: Path) -> None:
    names: dict[str, Any] = {"measure": measure, "folder": tmp_path}
    cell("run = measure(zone='FR', output_dir=folder, run_name='run', devices=('ram',), verbose=False).start()", names)
    cell("raise ValueError('of another cell')", names)
    cell("with measure(zone='FR', output_dir=None, devices=('ram',), verbose=False): pass", names)
    assert running() == ["run"]
    cell("run.stop()", names)
    assert read_run(tmp_path / "run").status == "finished"


def test_an_owner_that_is_freed_in_another_thread_waits_for_nobody(tmp_path: Path) -> None:
    import threading  # noqa: PLC0415

    runs = [tracker(tmp_path).start()]
    thread = threading.Thread(target=runs.clear)
    began_s = time.monotonic()
    thread.start()
    thread.join()
    assert time.monotonic() - began_s < 2.5
    assert read_run(tmp_path / "run").status == "interrupted"
