"""The command line: ``trainwatt doctor``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from trainwatt import __version__
from trainwatt.doctor import Diagnosis, examine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 where something can be measured or estimated, 1 where nothing can."""
    parser = _parser()
    options = parser.parse_args(arguments)
    diagnosis = examine(options.seconds)
    sys.stdout.write((json.dumps(diagnosis.to_dict(), indent=1) if options.json else diagnosis.text()) + "\n")
    return _exit_code(diagnosis)


def _exit_code(diagnosis: Diagnosis) -> int:
    return 0 if diagnosis.watts else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainwatt", description="What a training run takes.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="what can be measured on this machine, at which watts now, and what would mend the rest",
        description="Reads every source of this machine for a moment.",
        epilog="example: trainwatt doctor --json",
    )
    doctor.add_argument("--seconds", type=_seconds, default=1.5, help="how long to measure (default: %(default)s)")
    doctor.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds above 0 and up to 3600")
    return seconds
