"""``trainwatt doctor``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from trainwatt.cli.diagnosis import examine
from trainwatt.cli.shared import command, show

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "doctor",
        run,
        "what can be measured on this machine, at which watts now, and what would mend the rest",
        "trainwatt doctor --json",
    )
    parser.add_argument("--seconds", type=_seconds, default=1.5, help="how long to measure (default: %(default)s)")

    parser.add_argument(
        "--scope", choices=("machine", "process"), default="machine", help="as of a monitor (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Read every source for a moment; it failed where nothing can be measured or estimated."""
    diagnosis = examine(options.seconds, options.scope)
    show(options, diagnosis.text(), diagnosis.to_dict())
    return 0 if diagnosis.watts else 1


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds above 0 and up to 3600")
    return seconds
