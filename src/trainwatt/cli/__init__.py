"""The command line: ``trainwatt COMMAND``.

Exit codes: 0 done, 1 it failed, 2 the command line is wrong; ``trainwatt run`` exits as the command that it measures.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from trainwatt.cli import compare, completion, doctor, estimate, export, lifetime, merge, regions, report, run, watch
from trainwatt.errors import ArgumentError
from trainwatt.version import __version__

COMMANDS = (doctor, watch, run, merge, report, compare, export, estimate, regions, lifetime, completion)

_EPILOG = """\
examples:
  trainwatt doctor                      what can be measured here
  trainwatt run -- python train.py      measure any script
  trainwatt watch                       look at the latest run of ./footprint while it goes on
  trainwatt report footprint/*          look at them in a browser
  trainwatt COMMAND --help              each has examples, and --json

exit codes: 0 done, 1 it failed, 2 the command line is wrong; `run` exits as the command that it measures
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ArgumentError as error:
        return _told(error, 2)
    except BrokenPipeError:  # whoever reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError) as error:
        return _told(error, 1)
    return code


def _told(error: Exception, code: int) -> int:
    sys.stderr.write(f"trainwatt: {error}\n")
    return code


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(
        prog="trainwatt",
        description="What a training run takes: energy, CO2e, water and money.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
