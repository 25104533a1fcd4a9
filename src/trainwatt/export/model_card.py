"""``co2_eq_emissions`` in the metadata of a Hugging Face model card.

The metadata is YAML between two lines of three dashes at the beginning of ``README.md``. Only this key is written and
every other byte of the file is kept. Parsing and dumping the YAML would lose its comments.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from trainwatt.escaping.documents import yaml_text
from trainwatt.export import facts
from trainwatt.files.output_file import ForeignFileError, write_output
from trainwatt.schema.json_file import read_text
from trainwatt.units import G_PER_KG

KEY = "co2_eq_emissions"

_BLOCK = re.compile(r"\A(\ufeff?\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"""("[^"]*"|'[^']*'|[^\s#&*!|>%@`"'{}\[\],?:-][^:#]*|[?:-][^\s:#][^:#]*)\s*:(?:\s|$)""")
# In the source of our entries.
_SOURCE = "trainwatt"
_OWN = re.compile(rf"""(["']?){KEY}\1\s*:(?:\s|$)""")
# Includes closing brackets in the first column, because PyYAML writes them there.
_CONTINUATION = re.compile(r"[ \t]|-(?:\s|$)|[}\]]")


def co2_eq_emissions(summary: Mapping[str, Any], training_type: str | None = None) -> dict[str, str | float]:
    """Build the emissions metadata of a run.

    The format is documented at https://huggingface.co/docs/hub/model-cards-co2.

    Args:
        summary: of the run.
        training_type: ``"pre-training"`` or ``"fine-tuning"``; None to leave it out.

    Returns:
        Values by key; emissions are in gCO2e. Unknown values are left out.
    """
    share, pue = summary["measured_share"] or 0.0, facts.factor(summary, "pue")
    intensity = facts.factor(summary, "carbon_intensity")
    counted = facts.uncounted_text(summary) or f"{share:.0%} measured"
    source = (
        f"trainwatt {summary['about']['trainwatt']}: energy {counted}, operational location-based emissions "
        f"at {intensity['value']:.4g} gCO2e/kWh ({facts.source_text(intensity)}) "
        f"and PUE {pue['value']:.4g} ({facts.source_text(pue)}){_plug_text(summary)}"
    )
    known: dict[str, str | float | None] = {
        "emissions": facts.co2e_kg(summary).central * G_PER_KG,
        "source": source,
        "training_type": training_type,
        "geographical_location": facts.place_text(summary),
        "hardware_used": facts.hardware_text(summary),
    }
    return {key: value for key, value in known.items() if value not in (None, "")}


def _plug_text(summary: Mapping[str, Any]) -> str:
    plug = summary["site"]["factors"].get("plug")
    return f"; energy at the plug {plug['value']:.4g} times that read ({plug['source']})" if plug else ""


def card_with(card: str, emissions: Mapping[str, str | float]) -> str:
    """Insert the metadata into the text of a model card, replacing an existing entry.

    Args:
        card: text of the card, with its own line endings; may be empty.
        emissions: see :func:`co2_eq_emissions`.

    Returns:
        The new text of the card.

    Raises:
        ValueError: the existing metadata is not a plain list of ``key: value`` lines and cannot be edited safely.
    """
    block = _BLOCK.match(card)
    newline = _newline(card)
    entry = _yaml(emissions, newline)
    if block is None:
        return f"---{newline}{entry}---{newline}{card}"
    begin, metadata, end = block.groups()
    return begin + _replaced(metadata, entry) + end + card[block.end() :]


def write_card(path: str | os.PathLike[str], emissions: Mapping[str, str | float], *, force: bool = False) -> None:
    """Write the metadata into the file of a model card, which is created if it does not exist.

    Args:
        path: of the card.
        emissions: see :func:`co2_eq_emissions`.
        force: replace emissions that somebody else has entered as well.

    Raises:
        ForeignFileError: the card has emissions that are not from trainwatt.
        ValueError: see :func:`card_with`, or the file is not UTF-8.
        OSError: the file cannot be read or written.
    """
    file = Path(path)
    try:
        old = read_text(file, marked=True)
    except FileNotFoundError:
        old = ""
    new = card_with(old, emissions)
    if not force and _has_foreign_entry(old):
        raise ForeignFileError(file, f"its {KEY} would be replaced: give another name, or --force")
    # All that is not ours is kept.
    write_output(file, new, is_ours=lambda _: True)


def _has_foreign_entry(card: str) -> bool:
    """Return True if a card has emissions that somebody else has entered."""
    block = _BLOCK.match(card)
    lines = re.findall(r"[^\n]*\n|[^\n]+\Z", block.group(2)) if block else []
    own = [number for number, line in enumerate(lines) if _OWN.match(line)]
    return bool(own) and _SOURCE not in "".join(lines[own[0] : _end(lines, own[0])])


def _replaced(metadata: str, entry: str) -> str:
    """Replace the old entry of the metadata, or append the entry if there is none."""
    lines = re.findall(r"[^\n]*\n|[^\n]+\Z", metadata)
    own = [number for number, line in enumerate(lines) if _OWN.match(line)]
    if len(own) > 1 or not all(map(_is_plain, lines)):
        raise ValueError(f"the metadata of this card is not a plain list of 'key: value' lines; add {KEY} by hand")
    if not own:
        return metadata + entry
    return "".join([*lines[: own[0]], entry, *lines[_end(lines, own[0]) :]])


def _end(lines: Sequence[str], first: int) -> int:
    """Return the number of the line after an entry of the metadata."""
    last = first + 1
    for number in range(first + 1, len(lines)):
        if _CONTINUATION.match(lines[number]) and lines[number].strip():
            last = number + 1
        elif lines[number].strip() and not lines[number].startswith("#"):
            break
    return last


def _is_plain(line: str) -> bool:
    return not line.strip() or line.startswith("#") or bool(_CONTINUATION.match(line) or _ENTRY.match(line))


def _newline(card: str) -> str:
    found = re.search(r"\r?\n", card)
    return found.group() if found else "\n"


def _yaml(emissions: Mapping[str, str | float], newline: str) -> str:
    lines = [f"{KEY}:", *(f"  {key}: {_scalar(value)}" for key, value in emissions.items())]
    return "".join(line + newline for line in lines)


def _scalar(value: str | float) -> str:
    """Format a string as in JSON, or a number without exponent, because YAML 1.1 reads ``1e5`` as a string."""
    if isinstance(value, str):
        return yaml_text(value)
    if not math.isfinite(value):
        raise ValueError(f"{value!r} cannot be written as emissions")
    return f"{Decimal(f'{value:.6g}'):f}"
