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

from trainwatt.record import SUMMARY, read_summary
from trainwatt.site import Site
from trainwatt.units import J_PER_KWH, WH_PER_KWH

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # it has no public name

_KWH_PER = {"j": 1 / J_PER_KWH, "kj": 1e3 / J_PER_KWH, "mj": 1e6 / J_PER_KWH}
_KWH_PER |= {"wh": 1 / WH_PER_KWH, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6}


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], says: str, example: str
) -> argparse.ArgumentParser:
    """A command with its help, and with ``--json`` as all have it."""
    parser = commands.add_parser(
        name,
        help=says,
        description=says[0].upper() + says[1:] + ".",
        epilog=f"example: {example}",
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


def summary_of(run: str) -> dict[str, Any]:
    """The summary of a run folder, or of the ``summary.json`` in it.

    Raises:
        OSError: there is none.
        ValueError: it is none of trainwatt's.
    """
    path = Path(run)
    try:
        summary = read_summary(path.parent if path.name == SUMMARY else path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{run}: no run folder with a {SUMMARY} in it") from None
    except ValueError as error:
        raise ValueError(f"{run}: its {SUMMARY} is spoilt: {error}") from None
    if not isinstance(summary, dict) or not {"footprint", "site", "devices", "about"} <= summary.keys():
        raise ValueError(f"{run}: its {SUMMARY} is not one of trainwatt, or of an older version")
    return summary


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
