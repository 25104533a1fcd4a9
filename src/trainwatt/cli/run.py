"""``trainwatt run``."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from trainwatt.api import measure
from trainwatt.cli.shared import add_site, command, positive, site_of
from trainwatt.errors import ArgumentError
from trainwatt.escaping.printable import printable
from trainwatt.files.strict_json import dumps
from trainwatt.power.device import KINDS, Scope
from trainwatt.records.summary_view import summary_view
from trainwatt.reporting.console import write_line
from trainwatt.reporting.terminal import show
from trainwatt.signals.forwarding import Forwarding
from trainwatt.tracking.tracker import Tracker

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands
    from trainwatt.records.snapshot import Status

    Process = subprocess.Popen[bytes]

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
    _occupy_standard_streams()
    files = _inherited_files()
    measured = measure(
        **{name: getattr(options, name) for name in MONITOR_FLAGS if hasattr(options, name)},
        site=site_of(options),
        project_after=None,
        verbose=False,
    )
    if problem := _problem(words[0]):
        return _refused(words[0], problem)
    with Forwarding() as signals:
        code = _measured(measured, signals, lambda: _started(words, files, is_json=options.json), words[0])
        if code is None:
            return _NOT_EXECUTABLE
        _print_summary(measured, options, code)
        return code


def _flags(name: str) -> list[str]:
    return [flag for flag in (_SHORT_FLAGS.get(name), f"--{name.replace('_', '-')}") if flag]


def _measured(measured: Tracker, signals: Forwarding, start: Callable[[], Process], name: str) -> int | None:
    """Measure a command, and return its exit code as shells do; None if it could not be started."""
    measured.start()
    code: int | None = None
    try:
        code = -signals.early if signals.early else _ended(start(), signals)
    except OSError as error:
        _refused(name, error)
    finally:
        signals.end()
        code = _BY_SIGNAL - code if code is not None and code < 0 else code
        if code is not None:
            measured.log_exit(code)
        measured.stop("failed" if code is None else _status(code))
    return code


def _ended(process: Process, signals: Forwarding) -> int:
    """Wait until a process has ended, and return its code; a negative one is that of a signal."""
    signals.begin(process.pid)
    return process.wait()


def _started(words: list[str], files: tuple[int, ...], *, is_json: bool) -> Process:
    """Start the command; a script without a first line that names its interpreter is one of the shell's.

    Raises:
        OSError: if that is not possible.
    """
    # Standard output is that of the JSON alone, if that is asked for.
    settings: dict[str, Any] = {"stdout": 2 if is_json else None, "pass_fds": files}
    try:
        return subprocess.Popen(words, **settings)  # noqa: S603  # it is the user's own
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return subprocess.Popen(["/bin/sh", shutil.which(words[0]) or words[0], *words[1:]], **settings)  # noqa: S603


def _problem(name: str) -> OSError | None:
    """Return why a command cannot be started, as far as that can be seen before."""
    path = name if os.path.dirname(name) else shutil.which(name) or name  # noqa: PTH120  # as the system understands it
    if not os.path.exists(path):  # noqa: PTH110
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if os.path.isdir(path):  # noqa: PTH112
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return None if os.access(path, os.X_OK) else PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _refused(name: str, error: OSError) -> int:
    """Report a command that cannot be started, and return the exit code."""
    _write_error(f"trainwatt: {name}: {error.strerror}")
    return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE


def _inherited_files() -> tuple[int, ...]:
    """Return the files that were passed to this process for the command, such as those of make's job server."""
    try:
        numbers = sorted(int(name) for name in os.listdir("/dev/fd"))  # noqa: PTH208
    except (OSError, ValueError):
        # A system without it, such as Windows.
        return ()
    return tuple(number for number in numbers if number > 2 and _is_inheritable(number))


def _is_inheritable(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        # The folder itself was open while it was listed.
        return False


def _occupy_standard_streams() -> None:
    """Open standard streams that were closed as empty ones: else a file of ours would get the number of one."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)


def _status(code: int) -> Status:
    ends = [int(getattr(signal, name)) for name in _INTERRUPTING_SIGNALS if hasattr(signal, name)]
    if code == 0:
        return "finished"
    return "interrupted" if code - _BY_SIGNAL in ends else "failed"


def _print_summary(measured: Tracker, options: argparse.Namespace, code: int) -> None:
    """Print the summary on standard error, because standard output belongs to the command."""
    summary = measured.summary
    if options.json:
        if sys.stdout is not None:
            write_line(dumps(summary, indent=1), sys.stdout)
    elif summary and not options.quiet:
        shown = summary_view(summary, summary.folder)
        if summary.get("status") == "failed":
            # The command's own messages stand above, and are what is looked for.
            _write_error(f"{shown.line()}; exit code {code}")
        elif sys.stderr is not None:
            show(shown, sys.stderr)


def _write_error(text: str) -> None:
    """Write a line on standard error, if there is one."""
    if sys.stderr is not None:
        write_line(printable(text), sys.stderr)
