"""Output that cannot be written costs the output only: in real pipes, on a full device, in streams of every kind."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainwatt import measure
from trainwatt.reporting.console import write_line

TRAINING = """
import json, sys, time, trainwatt
{before}
with trainwatt.measure(zone="FR", output_dir="footprint", run_name="run", devices=("cpu", "ram")) as run:
    for epoch in run.epochs(3):
        for _ in range(3):
            time.sleep(0.01)
            run.step()
print("after", file=sys.stderr)
json.dump(run.summary, open("kept.json", "w"))
"""


def train(folder: Path, before: str, **streams: Any) -> tuple[int, str, dict[str, Any]]:
    script = TRAINING.format(before=before)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **streams,
    )
    return done.returncode, done.stderr, json.loads((folder / "kept.json").read_text(encoding="utf-8"))


CASES = {
    "closed": "sys.stdout.close()",
    "none": "sys.stdout = None",
    "without isatty": "sys.stdout = type('Own', (), {'write': lambda self, text: None, 'flush': lambda self: None})()",
    "raises": "sys.stdout = type('Own', (), {'write': lambda s, t: 1 / 0, 'flush': lambda s: None, 'isatty': None})()",
    "ascii": "sys.stdout.reconfigure(encoding='ascii')",
}


@pytest.mark.parametrize("before", CASES.values(), ids=CASES.keys())
def test_a_stream_of_any_kind_leaves_the_run_alone(before: str, tmp_path: Path) -> None:
    code, said, summary = train(tmp_path, before, stdout=subprocess.DEVNULL)
    assert code == 0, said
    assert "Traceback" not in said
    assert said.count("a printed line failed") <= 1
    assert (summary["status"], summary["epochs"], summary["phases"]["train"]["steps"]) == ("finished", 3, 9)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of Unix")
def test_a_pipe_without_a_reader_leaves_the_run_and_the_exit_code_alone(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code, said, summary = train(tmp_path, "", stdout=writing)
    os.close(writing)
    assert (code, summary["status"], summary["epochs"]) == (0, "finished", 3), said
    assert said.count("a printed line failed (BrokenPipeError") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_below_the_output_leaves_the_run_and_the_exit_code_alone(tmp_path: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        code, said, summary = train(tmp_path, "", stdout=full)
    assert (code, summary["status"], summary["epochs"]) == (0, "finished", 3), said
    assert said.count("a printed line failed (OSError") == 1


def test_what_the_program_has_printed_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii", newline="") as file:
        file.write("first\n")
        assert write_line("5 µs → 7", file)
        file.write("last\n")
    assert path.read_text(encoding="ascii") == "first\n5 ? ? 7\nlast\n".replace("5 ? ? 7", "5 ?s ? 7")


def test_a_stream_without_a_file_gets_the_line() -> None:
    stream = io.StringIO()
    assert write_line("a line", stream)
    assert stream.getvalue() == "a line\n"


def test_a_bar_that_cannot_write_leaves_the_line_to_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    from trainwatt.callbacks.lifecycle import Lifecycle  # noqa: PLC0415
    from trainwatt.projection.plan import Plan  # noqa: PLC0415

    def broken_bar(line: str) -> None:
        raise BrokenPipeError(line)

    monitor = Lifecycle(broken_bar, zone="FR", output_dir=None, devices=("ram",))
    monitor.open()
    monitor.plan(Plan(epochs=3))
    for epoch in range(2):
        monitor.begin_epoch(epoch)
        monitor.step()
        monitor.end_steps()
        monitor.wait_until_settled()
        monitor.end_epoch()
    monitor.close("finished")
    assert "epoch 1 of 3; whole run about" in capsys.readouterr().out
    assert monitor.summary["status"] == "finished"


def test_a_summary_is_printed_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    with measure(zone="FR", output_dir=None, devices=("ram",)) as run:
        sum(range(1000))
    assert run.summary.text() in capsys.readouterr().out
