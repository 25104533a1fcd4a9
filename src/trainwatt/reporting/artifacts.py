"""Artifacts of a run for experiment trackers, in addition to the logged metrics: summary, report and factors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwatt.files.background import within
from trainwatt.records.run_folder import SUMMARY
from trainwatt.records.summary import Summary

_log = logging.getLogger("trainwatt")

REPORT = "report.html"
# Longest delay of the end of a run by a disk that does not answer.
_PATIENCE_S = 5.0
# Name and unit suffix of each factor of the site in the config of a tracker.
_NAMES = {
    "carbon_intensity": ("carbon_intensity", "_g_per_kwh"),
    "market_intensity": ("market_intensity", "_g_per_kwh"),
    "plug": ("plug_factor", ""),
    "pue": ("pue", ""),
    "wue": ("wue", "_l_per_kwh"),
    "ewif": ("water_of_the_grid", "_l_per_kwh"),
    "price": ("price", "_per_kwh"),
}

Config = Mapping[str, str | float]


@dataclass(frozen=True)
class Attachment:
    """Artifacts of one run.

    Attributes:
        name: of the run.
        text: the summary, as it is printed.
        files: the summary, and the report if it was written; empty if the run has no run folder.
        config: location, hardware and every factor with its source, as a flat mapping.
    """

    name: str
    text: str
    files: tuple[Path, ...]
    config: Config


@dataclass(frozen=True)
class ExperimentTracker:
    """Experiment tracker with an active run.

    Attributes:
        name: for warnings, e.g. ``MLflow``.
        take: logs an attachment to the run of the tracker; may raise any exception.
    """

    name: str
    take: Callable[[Attachment], None]


def attach(summary: Summary, trackers: Iterable[ExperimentTracker]) -> None:
    """Attach the artifacts of a run to experiment trackers.

    If a tracker fails, log one warning and continue with the others.

    Args:
        summary: of a run that has ended; nothing is attached if it is empty.
        trackers: to attach the artifacts to.
    """
    if not summary:
        return
    made = attachment(summary)
    for tracker in trackers:
        _attach_to(tracker, made)


def _attach_to(tracker: ExperimentTracker, made: Attachment) -> None:
    try:
        tracker.take(made)
    except Exception as error:  # noqa: BLE001
        # A failing tracker must not end the training run.
        _log.warning("trainwatt: the summary could not be attached to %s: %s", tracker.name, error)


def found(find: Callable[[], list[ExperimentTracker]]) -> list[ExperimentTracker]:
    """Call a function that finds trackers. If it fails, log a warning and return an empty list."""
    try:
        return find()
    except Exception as error:  # noqa: BLE001
        # A failing tracker must not end the training run.
        _log.warning("trainwatt: the experiment trackers could not be found: %s", error)
        return []


def attachment(summary: Summary) -> Attachment:
    """Collect the artifacts of a run."""
    folder = summary.folder
    known = (folder / SUMMARY, folder / REPORT) if folder else ()
    try:
        files = within(_PATIENCE_S, lambda: tuple(path for path in known if path.exists()))
    except OSError:
        files = ()
    return Attachment(str(summary["run"]), summary.text(), files, config_of(summary))


def config_of(summary: Mapping[str, Any]) -> Config:
    """Return location, hardware and every factor with its source as a flat mapping.

    Args:
        summary: of a run, which may still be in progress.
    """
    # Deferred: the import takes milliseconds, and is needed only at the end of a run.
    from trainwatt.export.facts import hardware_text  # noqa: PLC0415

    site = summary["site"]
    config: dict[str, str | float] = {
        "version": summary["about"]["trainwatt"],
        "hardware": hardware_text(summary),
        "zone": site["zone"],
        "place": ", ".join(filter(None, (site["name"], site["cloud"]))),
        "place_known_by": site["origin"],
    }
    for key, (name, unit) in _NAMES.items():
        # Older summaries have no plug factor.
        factor = site["factors"].get(key)
        if factor is not None:
            source = ", ".join(filter(None, (f"{factor['source']} {factor['year']}".strip(), factor["basis"])))
            config |= {name + unit: factor["value"], f"{name}_source": source}
    if site["factors"]["price"] is not None:
        config["currency"] = site["currency"]
    return config
