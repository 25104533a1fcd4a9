"""The command line: ``trainwatt COMMAND``. Exit codes: 0 done, 1 it failed, 2 the command line is wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from trainwatt import __version__
from trainwatt.cli import doctor, estimate, export, lifetime, regions
from trainwatt.errors import ArgumentError

COMMANDS = (doctor, estimate, export, lifetime, regions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ArgumentError as error:
        return _told(error, 2)
    except (OSError, ValueError) as error:
        return _told(error, 1)
    return code


def _told(error: Exception, code: int) -> int:
    sys.stderr.write(f"trainwatt: {error}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainwatt", description="What a training run takes.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
