"""``trainwatt lifetime``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from trainwatt.cli.shared import command, positive, show, summary_of
from trainwatt.errors import ArgumentError
from trainwatt.export import facts
from trainwatt.footprint.lifetime import lifetime

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "lifetime",
        run,
        "compute after how many requests inference has used as much energy as training",
        "trainwatt lifetime footprint/train --inference footprint/train-predict --expected-requests 1e6",
    )
    parser.add_argument("folder", metavar="RUN", help="run folder of the training run")
    parser.add_argument("--inference", metavar="RUN", help="run folder of an evaluation, test or prediction")
    parser.add_argument("--samples", type=positive, help="number of requests in that run (default: from its summary)")
    parser.add_argument("--request-j", type=positive, help="joules per request, instead of --inference")
    parser.add_argument("--expected-requests", type=positive, help="number of requests over the lifetime of the model")


def run(options: argparse.Namespace) -> int:
    """Print the break-even."""
    training_kwh = facts.energy_kwh(summary_of(options.folder)).central
    expected = lifetime(training_kwh, _request_j(options), options.expected_requests)
    return show(options, expected.text(), expected.to_dict())


def _request_j(options: argparse.Namespace) -> float:
    if (options.inference is None) == (options.request_j is None):
        raise ArgumentError("--inference", options.inference, "either a run folder or --request-j, not both")
    if options.request_j is not None:
        return float(options.request_j)
    joules, samples = facts.inference(summary_of(options.inference))
    counted = options.samples or samples
    if not counted:
        raise ArgumentError(
            "--samples", options.samples, "the number of requests in the run, which its summary does not record"
        )
    return joules / float(counted)
