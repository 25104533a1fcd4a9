"""Damaged run folders for every command that reads them, and damaged checkpoints; the seeds are fixed.

``benchmarks/fuzz.py`` runs more of them, with any seed.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from standins import fuzzing
from standins.whole_runs import training
from trainwatt.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_command_fails_on_a_damaged_run_and_none_changes_it(seed: int, tmp_path: Path) -> None:
    outcome = fuzzing.fuzz_commands(tmp_path, 440, seed)
    assert outcome.failures == []
    assert outcome.changed == []
    # Most damages are told, and some do not matter.
    assert min(outcome.codes[0], outcome.codes[1]) > outcome.tried // 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_no_training_fails_on_a_damaged_checkpoint(seed: int, tmp_path: Path) -> None:
    """It goes on, with its whole summary at the end and at most one warning."""
    outcome = fuzzing.fuzz_checkpoints(tmp_path, 190, seed)
    assert outcome.failures == []
    assert outcome.changed == []
    assert outcome.codes[1] > outcome.tried // 10


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return training(tmp_path / "runs", "run")


def told(capsys: Capture, *arguments: str) -> str:
    """Return the one line that a command prints that fails."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("trainwatt: ")
    return line


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files on Windows")
@pytest.mark.parametrize("name", ["summary.json", "events.jsonl"])
@pytest.mark.parametrize("make", [_pipe, _socket, _loop, _device, Path.mkdir])
def test_what_is_no_file_is_told_at_once(name: str, make: Callable[[Path], None], run: Path, capsys: Capture) -> None:
    (run / name).unlink()
    make(run / name)
    for command in (["report"], ["compare"], ["watch", "--once"], ["merge"], ["export", "--format", "sci"]):
        assert name in told(capsys, command[0], str(run), *command[1:])


def test_a_newer_summary_is_told_as_one(run: Path, capsys: Capture) -> None:
    file = run / "summary.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"schema": 1', '"schema": 2'), encoding="utf-8")
    assert "schema is 2" in told(capsys, "report", str(run))


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b'{"run": "ru', "{}".encode("utf-16")])
def test_a_cut_summary_is_restored_from_the_events(content: bytes, run: Path, capsys: Capture) -> None:
    whole = run / "summary.json"
    whole.write_bytes(content)
    assert main(["watch", str(run), "--once"]) == 0
    assert "trainwatt: run finished after" in capsys.readouterr().out


def test_a_summary_cut_at_any_byte_is_restored(run: Path, capsys: Capture) -> None:
    file = run / "summary.json"
    whole = file.read_bytes()
    for size in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        file.write_bytes(whole[:size])
        assert main(["watch", str(run), "--once"]) == 0
        assert "trainwatt: run finished after" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["start", "span", "power", "projection", "score", "verdict", "budget", "resumed", "end"]
)
def test_an_earlier_note_named_like_an_event_of_ours_leaves_a_report(name: str, run: Path, tmp_path: Path) -> None:
    with (run / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(f'{{"event": "{name}", "path": "mine", "total_j": "mine", "value": {{}}}}\n')
    assert main(["report", str(run), "--write", str(tmp_path / "page.html")]) == 0
    assert "val_acc against energy" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_names_do_not_act_on_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    run = tmp_path / "a\x1b[2Jb"
    training(tmp_path, "run").rename(run)
    file = run / "summary.json"
    text = file.read_text(encoding="utf-8").replace('"run": "run"', r'"run": "x\u001b]0;t\u0007\u202ey\nz"')
    file.write_text(text.replace("24 GB of memory", r"m\u009b2J"), encoding="utf-8")
    for arguments in (
        ["watch", "--once"],
        ["compare"],
        ["export", "--format", "markdown"],
        ["export", "--format", "sci"],
    ):
        assert main([arguments[0], str(run), *arguments[1:]]) == 0
        shown = capsys.readouterr().out
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(shown)
        assert "\nz" not in shown
    (run / "summary.json").write_text('{"run": "\\u001b[2J"}', encoding="utf-8")
    assert "\x1b" not in told(capsys, "report", str(run))
