"""A signal that ends a process completes the record, wherever it comes, and nobody else's signals change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainwatt.records.job_reader import read_run

PROGRAMS = Path(__file__).with_name("programs.py")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Program:
    """Measured program in a process of its own."""

    def __init__(self, name: str, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAMS), name, str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.text = ""

    def trains(self) -> Program:
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline()) != "training\n":
            self.text += line
            assert line, f"it ended before it trained: {self.text}"
        time.sleep(0.3)
        return self

    def after(self, *numbers: signal.Signals) -> tuple[int, str]:
        """Return the exit code and the status of the run after signals."""
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(0.01)
        try:
            self.text += self.process.communicate(timeout=20)[0]
        finally:
            self.process.kill()
        run = read_run(self.folder / "run")
        if run.status not in ("killed", "running"):
            assert run.events[-1]["event"] == "end"
        return self.process.returncode, run.status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["alone", "in_thread", "in_thread_beside_a_loop", "in_native_code", "in_event_loop"])
def test_the_record_is_completed_and_the_process_ends_by_the_signal(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    assert Program(name, tmp_path).trains().after(number) == (-number, "interrupted")


def test_more_signals_change_nothing(tmp_path: Path) -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM, signal.SIGTERM)
    code, status = Program("alone", tmp_path).trains().after(*numbers)
    assert (code, status) == (-signal.SIGTERM, "interrupted")


def test_signals_of_an_event_loop_still_reach_it(tmp_path: Path) -> None:
    program = Program("in_event_loop", tmp_path).trains()
    program.process.send_signal(signal.SIGUSR1)
    time.sleep(0.3)
    assert program.after(signal.SIGTERM) == (-signal.SIGTERM, "interrupted")
    assert program.text == "usr1\n"


def test_a_handler_that_was_installed_later_decides(tmp_path: Path) -> None:
    """It leaves at once, so that nobody completes the record; but it is up to date."""
    program = Program("with_a_later_handler", tmp_path).trains()
    assert program.after(signal.SIGTERM) == (9, "killed")


def test_a_handler_that_is_put_back_after_the_run_ends_the_process(tmp_path: Path) -> None:
    program = Program("with_a_handler_put_back_after_the_run", tmp_path).trains()
    time.sleep(0.7)
    assert program.after(signal.SIGTERM) == (-signal.SIGTERM, "finished")


def test_a_forked_child_dies_alone(tmp_path: Path) -> None:
    program = Program("with_a_forked_child", tmp_path).trains()
    assert program.text == f"child {-signal.SIGTERM}\n"
    assert program.process.poll() is None
    assert program.after(signal.SIGTERM) == (-signal.SIGTERM, "interrupted")


def test_signals_that_are_ignored_stay_ignored(tmp_path: Path) -> None:
    program = Program("with_ignored_signals", tmp_path).trains()
    assert program.after(signal.SIGTERM, signal.SIGHUP) == (0, "finished")


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
def test_a_signal_between_runs_or_at_their_ends_leaves_no_open_record(delay_s: float, tmp_path: Path) -> None:
    program = Program("that_starts_and_ends_runs", tmp_path).trains()
    time.sleep(delay_s)
    code, _ = program.after(signal.SIGTERM)
    assert code == -signal.SIGTERM
    found = [read_run(folder).status for folder in tmp_path.iterdir() if (folder / "events.jsonl").exists()]
    assert set(found) <= {"finished", "interrupted"}


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize(
    ("name", "status"), [("by_ctrl_c", "interrupted"), ("by_alarm", "failed"), ("by_sigterm_of_its_own", "failed")]
)
def test_an_interrupt_within_a_hook_reaches_the_program_after_it(
    name: str, status: str, attempt: int, tmp_path: Path
) -> None:
    program = Program(name, tmp_path / f"{name}-{attempt}")
    assert program.after() == (0, status)
    assert program.text == f"True {status} True\n"
