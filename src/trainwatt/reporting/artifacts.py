"""What a run leaves for an experiment tracker, beside the values that were logged: summary, report, factors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwatt.records.run_folder import SUMMARY
from trainwatt.records.summary import Summary

_log = logging.getLogger("trainwatt")

REPORT = "report.html"
_NAMES = {  # of the site's factors: what they are called, and their unit
    "carbon_intensity": ("carbon_intensity", "_g_per_kwh"),
    "market_intensity": ("market_intensity", "_g_per_kwh"),
    "pue": ("pue", ""),
    "wue": ("wue", "_l_per_kwh"),
    "ewif": ("water_of_the_grid", "_l_per_kwh"),
    "price": ("price", "_per_kwh"),
}

Config = Mapping[str, str | float]


@dataclass(frozen=True)
class Attachment:
    """What there is to attach.

    Attributes:
        name: of the run.
        text: its summary, as it is printed.
        files: its summary, and its report where one was written; none where it has no run folder.
        config: where it was, on what, and every factor with its source, flat.
    """

    name: str
    text: str
    files: tuple[Path, ...]
    config: Config


@dataclass(frozen=True)
class ExperimentTracker:
    """An experiment tracker with a run of its own.

    Attributes:
        name: as its users know it.
        take: gives it an attachment; may raise what it likes.
    """

    name: str
    take: Callable[[Attachment], None]


def attach(summary: Summary, trackers: Iterable[ExperimentTracker]) -> None:
    """Give trackers what a run has left; one that fails is told of once, and the others get theirs.

    Args:
        summary: of a run that has ended; an empty one is not given.
        trackers: who is to have it.
    """
    if not summary:
        return
    made = attachment(summary)
    for tracker in trackers:
        _give(made, tracker)


def _give(made: Attachment, tracker: ExperimentTracker) -> None:
    try:
        tracker.take(made)
    except Exception as error:  # noqa: BLE001  # a tracker must not end the program
        _log.warning("trainwatt: the summary could not be attached in %s: %s", tracker.name, error)


def found(find: Callable[[], list[ExperimentTracker]]) -> list[ExperimentTracker]:
    """What a function finds; if it fails it is told of once, and there are none."""
    try:
        return find()
    except Exception as error:  # noqa: BLE001  # a tracker must not end the program
        _log.warning("trainwatt: the experiment trackers cannot be told: %s", error)
        return []


def attachment(summary: Summary) -> Attachment:
    """What a run has to attach."""
    folder = summary.folder
    known = (folder / SUMMARY, folder / REPORT) if folder else ()
    files = tuple(path for path in known if path.exists())
    return Attachment(str(summary["run"]), summary.text(), files, config_of(summary))


def config_of(summary: Mapping[str, Any]) -> Config:
    """Where a run is, on what, and every factor with its source, as flat names; also of one that goes on."""
    from trainwatt.export.facts import hardware_text  # noqa: PLC0415  # at the end only: importing it takes milliseconds

    site = summary["site"]
    config: dict[str, str | float] = {
        "version": summary["about"]["trainwatt"],
        "hardware": hardware_text(summary),
        "zone": site["zone"],
        "place": ", ".join(filter(None, (site["name"], site["cloud"]))),
        "place_known_by": site["origin"],
    }
    for key, (name, unit) in _NAMES.items():
        factor = site["factors"][key]
        if factor is not None:
            source = ", ".join(filter(None, (f"{factor['source']} {factor['year']}".strip(), factor["basis"])))
            config |= {name + unit: factor["value"], f"{name}_source": source}
    if site["factors"]["price"] is not None:
        config["currency"] = site["currency"]
    return config
