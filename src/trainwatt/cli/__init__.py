"""The command line: ``trainwatt COMMAND``.

Exit codes: 0 success, 1 failure, 2 usage error. ``trainwatt run`` exits with the exit code of the measured command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from trainwatt.cli import compare, completion, estimate, export, lifetime, merge, regions, report, run, watch
from trainwatt.cli.machine import calibrate, doctor
from trainwatt.cli.shared import write_error
from trainwatt.errors import ArgumentError
from trainwatt.masking import plain
from trainwatt.version import __version__

COMMANDS = (doctor, calibrate, watch, run, merge, report, compare, export, estimate, regions, lifetime, completion)

_EPILOG = """\
examples:
  trainwatt doctor                      check what can be measured on this machine
  trainwatt run -- python train.py      measure any script
  trainwatt watch                       follow the latest run in ./footprint
  trainwatt report footprint/*          write an HTML page that compares all runs
  trainwatt COMMAND --help              show the options and examples of a command

exit codes: 0 success, 1 failure, 2 usage error; `run` exits with the exit code of the measured command
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ArgumentError as error:
        return _failed(error, 2)
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Python would report the same error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError) as error:
        return _failed(error, 1)
    return code


def _failed(error: Exception, code: int) -> int:
    write_error(str(error))
    return code


class _Parser(argparse.ArgumentParser):
    """Parser whose messages hide what may be a secret, such as a token in place of a number."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit."""
        super().error(plain(message))


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = _Parser(
        prog="trainwatt",
        description="Measure the energy, CO2e, water and cost of training runs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
