"""The emissions of a training in the model card that the Trainer writes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer

from trainwatt.export import co2_eq_emissions, write_card

_log = logging.getLogger("trainwatt")


def add_emissions(trainer: Trainer, summary: Mapping[str, Any]) -> None:
    """Add ``co2_eq_emissions`` to the metadata of the card in the output folder, and touch nothing else in it.

    Args:
        trainer: the Trainer that wrote the card; only the process that writes has it.
        summary: of the training; an empty one adds nothing.
    """
    card = Path(trainer.args.output_dir or ".") / "README.md"
    if not summary or not trainer.is_world_process_zero() or not card.exists():
        return
    try:
        write_card(card, co2_eq_emissions(summary, training_type(trainer)))
    except (OSError, ValueError) as error:
        _log.warning("trainwatt: the emissions could not be added to %s: %s", card, error)


def training_type(trainer: Trainer) -> str | None:
    """Return ``"fine-tuning"`` if the model has a name on the Hub, as the Trainer's own card does; else None."""
    name = getattr(getattr(trainer.model, "config", None), "_name_or_path", "")
    return "fine-tuning" if name and not Path(name).is_dir() else None
