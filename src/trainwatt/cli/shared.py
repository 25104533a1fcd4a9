"""What several commands have in common."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.records.job_reader import read_run
from trainwatt.records.run_folder import EVENTS, SUMMARY
from trainwatt.records.summary import Summary
from trainwatt.site import Site
from trainwatt.units import J_PER_KWH, WH_PER_KWH

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # it has no public name

_KWH_PER = {"j": 1 / J_PER_KWH, "kj": 1e3 / J_PER_KWH, "mj": 1e6 / J_PER_KWH}
_KWH_PER |= {"wh": 1 / WH_PER_KWH, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6}


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], says: str, *examples: str
) -> argparse.ArgumentParser:
    """A command with its help, and with ``--json`` as all have it."""
    parser = commands.add_parser(
        name,
        help=says,
        description=says[0].upper() + says[1:] + ".",
        epilog="\n".join([f"example{'s' * (len(examples) > 1)}:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def add_site(parser: argparse.ArgumentParser) -> None:
    """The arguments that tell a place."""
    site = parser.add_argument_group("where (default: as the environment, a file or the time zone tells)")
    site.add_argument("--zone", help="country or subdivision, such as FR or US-CA")
    site.add_argument("--cloud", help="cloud region, such as gcp/europe-west9")
    site.add_argument("--pue", type=float, help="power usage effectiveness of the data centre")
    site.add_argument("--wue", type=float, help="water that the data centre uses, L/kWh")
    site.add_argument("--tariff", type=float, help="price of electricity per kWh, in the local currency")
    site.add_argument("--carbon-intensity", type=float, help="of the electricity, gCO2e/kWh")


def site_of(options: argparse.Namespace) -> Site:
    """The place that is told."""
    names = ("zone", "cloud", "pue", "wue", "tariff", "carbon_intensity")
    return Site(**{name: getattr(options, name) for name in names})


def summary_of(run: str) -> Summary:
    """The summary of a run folder, or of the ``summary.json`` in it.

    Raises:
        OSError: there is none.
        ValueError: it is none of trainwatt's, or the run was killed before it was complete.
    """
    summary = read_run(run).summary
    if not {"footprint", "site", "about"} <= summary.keys():
        raise ValueError(f"{run}: the run was killed before it could tell where it was and on what")
    return summary


def latest_run(folder: str) -> Path:
    """A run folder itself, or the latest in a folder of run folders.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(folder)
    path = path.parent if path.name == SUMMARY else path
    if (path / EVENTS).exists() or (path / SUMMARY).exists():
        return path
    runs = [events.parent for events in path.glob(f"*/{EVENTS}")]
    if not runs:
        raise FileNotFoundError(f"{folder}: no run folder, and no folder of them")
    return max(runs, key=lambda run: run.stat().st_mtime)


def show(options: argparse.Namespace, text: str, state: Mapping[str, Any]) -> int:
    """Print what was found, in the form that is asked for."""
    sys.stdout.write((json.dumps(state, indent=1) if options.json else text) + "\n")
    return 0


def kwh(text: str) -> float:
    """Energy with its unit, e.g. ``3.2kWh``."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*([a-z]+)\s*", text.lower())
    try:
        value = float(found[1]) * _KWH_PER[found[2]] if found else -1.0
    except (KeyError, ValueError):
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected energy with its unit, such as 3.2kWh, 500Wh or 2MWh")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value
