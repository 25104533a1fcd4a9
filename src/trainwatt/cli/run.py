"""``trainwatt run``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, get_args

from trainwatt.api import measure
from trainwatt.cli.shared import add_site, command, positive, site_of
from trainwatt.errors import ArgumentError
from trainwatt.power.device import KINDS, Scope
from trainwatt.records.summary_view import summary_view
from trainwatt.reporting.terminal import show
from trainwatt.tracking.tracker import Tracker

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands
    from trainwatt.records.snapshot import Status

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
# Ctrl-C and Ctrl-\: the terminal sends them to the command as well.
_TERMINAL_SIGNALS = ("SIGINT", "SIGQUIT")
_INTERRUPTING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
# The exit codes that shells use.
_NOT_FOUND, _NOT_EXECUTABLE, _BY_SIGNAL = 127, 126, 128

# Options of a monitor that the command has besides those of the site, which it shares with other commands. Each name is
# that of an option, whose default holds if the flag is not given.
MONITOR_FLAGS: Mapping[str, dict[str, Any]] = {
    "devices": {"nargs": "+", "choices": KINDS, "help": "kinds of devices to measure (default: all)"},
    "gpus": {
        "nargs": "+",
        "metavar": "GPU",
        "help": "GPUs to measure: numbers as CUDA counts them, or UUIDs (default: CUDA_VISIBLE_DEVICES, else all)",
    },
    "scope": {
        "choices": get_args(Scope),
        "help": "measure the whole machine, or the share of the command and its children (default: machine)",
    },
    "interval": {"type": positive, "metavar": "SECONDS", "help": "maximum seconds between samples (default: 1)"},
    "idle_w": {"type": positive, "metavar": "WATTS", "help": "idle power of the CPU, if it can only be estimated"},
    "full_w": {"type": positive, "metavar": "WATTS", "help": "power of the CPU at full load, likewise"},
    "output_dir": {"metavar": "FOLDER", "help": "parent of the run folders (default: footprint)"},
    "run_name": {"metavar": "NAME", "help": "name of the run folder (default: start time)"},
}
# Options that make no sense here: flags of its own describe the site, and a command has no epochs and no requests.
LEFT_OUT = frozenset({"site", "project_after", "verbose", "expected_requests"})
_SHORT_FLAGS = {"run_name": "--name"}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "run",
        run,
        "measure any command, in any language, and exit with its exit code",
        "trainwatt run -- python train.py --epochs 20",
        "trainwatt run --zone FR --name baseline -- torchrun --nproc-per-node 8 train.py",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="command to run, after two dashes"
    )
    for name, settings in MONITOR_FLAGS.items():
        parser.add_argument(*_flags(name), dest=name, default=argparse.SUPPRESS, **settings)
    parser.add_argument("--quiet", action="store_true", help="print no summary")
    add_site(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command and measure the machine meanwhile.

    Returns:
        The exit code of the command, or 128 plus the number of the signal that ended it.
    """
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        raise ArgumentError("COMMAND", "", "a command after two dashes, such as: trainwatt run -- python train.py")
    measured = measure(
        **{name: getattr(options, name) for name in MONITOR_FLAGS if hasattr(options, name)},
        site=site_of(options),
        project_after=None,
        verbose=False,
    )
    code = _measured(measured, words, options)
    _print_summary(measured, options)
    return code


def _flags(name: str) -> list[str]:
    return [flag for flag in (_SHORT_FLAGS.get(name), f"--{name.replace('_', '-')}") if flag]


def _measured(measured: Tracker, words: list[str], options: argparse.Namespace) -> int:
    measured.start()
    status: Status = "failed"
    code = _NOT_FOUND
    try:
        with _forwarded_signals() as children:
            process = subprocess.Popen(words, stdout=sys.stderr.fileno() if options.json else None)  # noqa: S603
            children.append(process)
            code = process.wait()
        status = _status(code)
    except OSError as error:
        code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        sys.stderr.write(f"trainwatt: {words[0]}: {error.strerror}\n")
    finally:
        code = code if code >= 0 else _BY_SIGNAL - code
        measured.log_event({"event": "exit", "code": code})
        measured.stop(status)
    return code


@contextmanager
def _forwarded_signals() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Forward signals to the child processes in the yielded list, instead of ending this process."""
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: FrameType | None) -> None:
        if signal.Signals(number).name in _TERMINAL_SIGNALS and _in_foreground():
            return
        for child in children:
            child.send_signal(number)

    known = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, forward) for number in known}
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Return True if the terminal sends its signals to this process and the command alike."""
    try:
        with Path(os.ctermid()).open(encoding="utf-8") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (AttributeError, OSError):
        # Windows, or no controlling terminal.
        return False


def _status(code: int) -> Status:
    ends = [int(getattr(signal, name)) for name in _INTERRUPTING_SIGNALS if hasattr(signal, name)]
    if code == 0:
        return "finished"
    return "interrupted" if -code in ends or code - _BY_SIGNAL in ends else "failed"


def _print_summary(measured: Tracker, options: argparse.Namespace) -> None:
    """Print the summary on standard error, because standard output belongs to the command."""
    summary: Mapping[str, Any] = measured.summary
    if options.json:
        sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    elif summary and not options.quiet:
        show(summary_view(summary, measured.summary.folder), sys.stderr)
