"""A run folder read back, of a run that ended in whatever way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.run_folders import written
from trainwatt import Tracker, measure, read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    """A run of two epochs, in a folder ``run``."""
    run = measure(zone="FR", output_dir=tmp_path_factory.mktemp("runs"), run_name="run", verbose=False)
    with run:
        for _ in run.epochs(2):
            run.step(5)
            with run.phase("validate"):
                sum(range(100_000))
            run.metric("val_acc", 0.9)
    return run


def folder_of(run: Tracker) -> Path:
    assert run.summary.folder is not None
    return run.summary.folder


def test_what_was_written_is_read(run: Tracker) -> None:
    read = read_run(folder_of(run))
    assert read.summary == run.summary
    assert (read.name, read.status) == ("run", "finished")
    assert (read.events[0]["event"], read.events[-1]["event"]) == ("start", "end")
    assert read_run(folder_of(run) / "summary.json").summary == run.summary


def test_a_summary_is_still_a_dictionary(run: Tracker) -> None:
    assert isinstance(run.summary, dict)
    assert json.loads(json.dumps(run.summary)) == run.summary
    assert {**run.summary} == dict(run.summary)


def test_a_killed_run_tells_what_it_left(tmp_path: Path) -> None:
    """Killed before its first summary, within a line."""
    spans = [
        {
            "event": "span",
            "epoch": epoch,
            "phase": "train",
            "seconds": 2.0,
            "entries": 1,
            "steps": 5,
            "joules": {"g": 7.2},
        }
        for epoch in range(2)
    ]
    start = {"event": "start", "run": "run", "began_unix_s": time.time() - 60, "pid": -1}
    read = read_run(written(tmp_path / "run", [start, *spans], cut='{"event": "span", "epo'))
    assert read.status == "killed"
    assert read.summary["total_kwh"] == pytest.approx(14.4 / 3.6e6)
    assert read.summary["phases"]["train"]["steps"] == 10
    assert "killed after 4.0 s, 14.4 J" in read.summary.text()
    assert "14.4 J" in read._repr_html_()


def test_a_run_killed_by_the_system_is_told_from_one_that_goes_on(tmp_path: Path) -> None:
    script = "import trainwatt, time\nwith trainwatt.measure(zone='FR', run_name='run', verbose=False): time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path) as process:
        summary = tmp_path / "footprint/run/summary.json"
        while not summary.exists():
            assert process.poll() is None
            time.sleep(0.05)
        assert read_run(summary.parent).status == "running"
        process.kill()
    state = json.loads(summary.read_text())
    summary.write_text(json.dumps(state | {"updated": "2026-01-01T00:00:00.000+00:00"}))  # some time later
    assert read_run(summary.parent).status == "killed"


@pytest.mark.parametrize("content", ["{", "[]", '{"loss": 1}'])
def test_what_is_none_of_ours_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(ValueError, match=r"summary\.json"):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_run(tmp_path / "nothing")


def test_a_notebook_shows_it(run: Tracker) -> None:
    html = run.summary._repr_html_()
    assert "trainwatt: run finished" in html
    assert html.count("<table>") == 2
    assert "CO2e" in html
    assert read_run(folder_of(run))._repr_html_() == html
    assert "no run has ended" in measure(output_dir=None).summary._repr_html_()


def test_names_from_outside_cannot_change_the_page(run: Tracker, tmp_path: Path) -> None:
    folder = written(tmp_path / "run", summary={**run.summary, "run": "<script>alert(1)</script>"})
    assert "<script>" not in read_run(folder)._repr_html_()


def test_phases_and_epochs_are_data_frames(run: Tracker) -> None:
    pytest.importorskip("pandas")
    phases = run.summary.to_pandas()
    assert phases.loc["train", "steps"] == 10
    assert phases["joules"].sum() == pytest.approx(run.summary["total_j"])
    epochs = read_run(folder_of(run)).to_pandas()
    assert epochs["joules"].sum() == pytest.approx(run.summary["total_j"])
    assert set(epochs[epochs["phase"] == "train"]["epoch"]) == {0, 1}


def test_importing_it_needs_no_pandas() -> None:
    code = "import sys, trainwatt; trainwatt.read_run; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert {"pandas", "rich", "IPython"}.isdisjoint(run.stdout.split())
