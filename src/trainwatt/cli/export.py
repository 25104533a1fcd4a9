"""``trainwatt export``."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainwatt.cli.shared import add_force, command, positive, show, summary_of
from trainwatt.errors import ArgumentError
from trainwatt.export import (
    append_emissions,
    card_with,
    co2_eq_emissions,
    emissions_row,
    latex,
    markdown,
    sci,
    write_card,
)

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "export",
        run,
        "export a run as model card metadata, CodeCarbon row, SCI score or citation",
        "trainwatt export footprint/2026-11-23T08-49-46 --format model-card --write README.md",
    )
    parser.add_argument("folder", metavar="RUN", help="run folder")
    parser.add_argument("--format", choices=FORMATS, required=True, help="output format")
    parser.add_argument(
        "--write", metavar="FILE", help="model-card, codecarbon: file to add the data to (default: print it)"
    )
    add_force(parser)
    parser.add_argument("--training-type", choices=["pre-training", "fine-tuning"], help="model-card: training type")
    parser.add_argument("--project", default="trainwatt", help="codecarbon: project name (default: %(default)s)")
    parser.add_argument(
        "--per",
        default="epoch",
        metavar="UNIT",
        help="sci: unit to score by: epoch (default), step, token, sample, ...",
    )
    parser.add_argument(
        "--units", type=positive, help="sci: number of units (default: counted, for epoch, step and sample)"
    )
    parser.add_argument(
        "--embodied-kg", type=positive, help="sci: embodied kgCO2e of the run (default: from its summary)"
    )


def run(options: argparse.Namespace) -> int:
    """Print or write the export."""
    if options.write and options.format not in ("model-card", "codecarbon"):
        raise ArgumentError(
            "--write", options.write, "--format model-card or codecarbon; the other formats are only printed"
        )
    return FORMATS[options.format](options, summary_of(options.folder))


def _model_card(options: argparse.Namespace, summary: dict[str, Any]) -> int:
    emissions = co2_eq_emissions(summary, options.training_type)
    if options.write:
        write_card(options.write, emissions, force=options.force)
        return 0
    return show(options, card_with("", emissions).rstrip(), {"co2_eq_emissions": emissions})


def _codecarbon(options: argparse.Namespace, summary: dict[str, Any]) -> int:
    row = emissions_row(summary, options.project)
    if options.write:
        append_emissions(options.write, row, force=options.force)
        return 0
    text = io.StringIO()
    writer = csv.DictWriter(text, row, lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    return show(options, text.getvalue().rstrip(), row)


def _sci(options: argparse.Namespace, summary: dict[str, Any]) -> int:
    score = sci(summary, options.per, options.units, options.embodied_kg)
    return show(options, score.text(), score.to_dict())


def _markdown(options: argparse.Namespace, summary: dict[str, Any]) -> int:
    return show(options, markdown(summary), {"markdown": markdown(summary)})


def _latex(options: argparse.Namespace, summary: dict[str, Any]) -> int:
    return show(options, latex(summary), {"latex": latex(summary)})


FORMATS: dict[str, Callable[[argparse.Namespace, dict[str, Any]], int]] = {
    "model-card": _model_card,
    "codecarbon": _codecarbon,
    "sci": _sci,
    "markdown": _markdown,
    "latex": _latex,
}
