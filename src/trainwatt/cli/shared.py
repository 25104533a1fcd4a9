"""Helpers shared by the commands."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trainwatt.escaping.printable import printable
from trainwatt.files.strict_json import dumps
from trainwatt.records.job_reader import read_run
from trainwatt.records.run_folder import EVENTS, SUMMARY
from trainwatt.records.summary import Summary
from trainwatt.site import Site
from trainwatt.units import J_PER_KWH, WH_PER_KWH

if TYPE_CHECKING:
    # argparse has no public name for it.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_KWH_PER = {"j": 1 / J_PER_KWH, "kj": 1e3 / J_PER_KWH, "mj": 1e6 / J_PER_KWH}
_KWH_PER |= {"wh": 1 / WH_PER_KWH, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6}


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], summary: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a command with its help and the option ``--json``.

    Args:
        commands: the subparsers to add it to.
        name: of the command.
        run: function that executes the command and returns the exit code.
        summary: one line of help, in lower case and without a full stop.
        examples: command lines for the help text.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="\n".join([f"example{'s' * (len(examples) > 1)}:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def add_site(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that describe the site."""
    site = parser.add_argument_group("site (default: from the environment, a config file or the time zone)")
    site.add_argument("--zone", help="country or subdivision, such as FR or US-CA")
    site.add_argument("--cloud", help="cloud region, such as gcp/europe-west9")
    site.add_argument("--pue", type=float, help="power usage effectiveness of the data centre")
    site.add_argument("--wue", type=float, help="water usage effectiveness of the data centre, L/kWh")
    site.add_argument("--tariff", type=float, help="electricity price per kWh, in the local currency")
    site.add_argument(
        "--carbon-intensity",
        type=_number_or_source,
        help="carbon intensity of the electricity, gCO2e/kWh, or a live source, such as electricitymaps",
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets a command replace a file of somebody else's."""
    parser.add_argument("--force", action="store_true", help="replace a file that is there and not from trainwatt")


def site_of(options: argparse.Namespace) -> Site:
    """Build the site from the arguments of :func:`add_site`."""
    names = ("zone", "cloud", "pue", "wue", "tariff", "carbon_intensity")
    return Site(**{name: getattr(options, name) for name in names})


def summary_of(run: str) -> Summary:
    """Read the summary of a run.

    Args:
        run: path of the run folder, or of the ``summary.json`` in it.

    Raises:
        OSError: the summary does not exist or cannot be read.
        ValueError: the file is not a trainwatt summary, or it is incomplete because the run was killed.
    """
    summary = read_run(run).summary
    if not {"footprint", "site", "about"} <= summary.keys():
        raise ValueError(f"{run}: the run was killed before its site and hardware were recorded")
    return summary


def latest_run(folder: str) -> Path:
    """Find a run folder.

    Args:
        folder: a run folder, a ``summary.json`` in one, or a folder of run folders, for the latest of them.

    Raises:
        FileNotFoundError: there is no run folder.
    """
    path = Path(folder)
    path = path.parent if path.name == SUMMARY else path
    if (path / EVENTS).exists() or (path / SUMMARY).exists():
        return path
    runs = [events.parent for events in path.glob(f"*/{EVENTS}")]
    if not runs:
        raise FileNotFoundError(f"{folder}: no run folder here or one level below")
    return max(runs, key=lambda run: run.stat().st_mtime)


def show(options: argparse.Namespace, text: str, state: Mapping[str, Any]) -> int:
    """Print the text, or the state as JSON if the option ``--json`` is set, and return exit code 0."""
    write(dumps(state, indent=1) if options.json else text)
    return 0


def write(text: str) -> None:
    """Write lines to standard output. Characters that would act on a terminal, or that it lacks, are replaced.

    All text of the commands passes here; names in it come from files that somebody else may have written.
    """
    sys.stdout.write(_encodable(printable(text, lines=True), sys.stdout) + "\n")
    sys.stdout.flush()


def write_error(text: str) -> None:
    """Write a line to standard error, likewise."""
    sys.stderr.write(_encodable(f"trainwatt: {printable(text)}", sys.stderr) + "\n")


def _encodable(text: str, file: TextIO) -> str:
    encoding = file.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def kwh(text: str) -> float:
    """Parse an energy with its unit, e.g. ``3.2kWh``, into kWh."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*([a-z]+)\s*", text.lower())
    try:
        value = float(found[1]) * _KWH_PER[found[2]] if found else -1.0
    except (KeyError, ValueError):
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected energy with its unit, such as 3.2kWh, 500Wh or 2MWh")
    return value


def _number_or_source(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def positive(text: str) -> float:
    """Parse a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value
