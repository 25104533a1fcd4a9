"""``trainwatt estimate``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from trainwatt.cli.shared import add_site, command, positive, show, site_of
from trainwatt.reporting.pretraining_estimate import estimate

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "estimate",
        run,
        "estimate a training run before it starts, from GPUs, hours and region, with a wide range",
        "trainwatt estimate --gpu H100 --count 8 --hours 120 --zone FR",
    )
    parser.add_argument("--gpu", required=True, metavar="MODEL", help="GPU model, such as H100, A100 PCIe or RTX 4090")
    parser.add_argument("--count", type=_count, default=1, help="number of GPUs (default: %(default)s)")
    parser.add_argument("--hours", type=positive, required=True, help="duration of the training run")
    parser.add_argument(
        "--watts", type=positive, help="mean power of one GPU including its share of the machine, if known"
    )
    add_site(parser)


def run(options: argparse.Namespace) -> int:
    """Print the estimate."""
    expected = estimate(options.gpu, options.count, options.hours, site_of(options), watts=options.watts)
    return show(options, expected.text(), expected.to_dict())


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of GPUs, at least 1")
    return int(text)
