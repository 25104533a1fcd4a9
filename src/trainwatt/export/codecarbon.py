"""Rows of CodeCarbon's ``emissions.csv``, so that tools that read those files can read trainwatt runs."""

from __future__ import annotations

import csv
import io
import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from trainwatt.escaping.documents import csv_cell
from trainwatt.export import facts
from trainwatt.files.line_file import append_lines
from trainwatt.files.output_file import ForeignFileError
from trainwatt.schema.json_file import read_head
from trainwatt.site import tables
from trainwatt.units import J_PER_KWH

# The fields of EmissionsData in codecarbon 3.3 (codecarbon/output_methods/emissions_data.py), in their order.
COLUMNS = (
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "water_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
)

Cell = str | float | int | None
# More than any version's header takes.
_HEADER_BYTES = 2**16
# A zone that a later version may know.
_UNKNOWN = {"name": None, "iso3": None}


def emissions_row(summary: Mapping[str, Any], project: str = "trainwatt") -> dict[str, Cell]:
    """Convert a summary to a row with CodeCarbon's columns.

    Args:
        summary: of the run.
        project: name of the project.

    Returns:
        Values by column, in kg, kWh, seconds and watts. As in CodeCarbon, energies include the facility's overhead.
        Columns that trainwatt does not measure (coordinates, utilisation) are None and written as empty cells.
    """
    about, site = summary["about"], summary["site"]
    emissions, seconds = facts.co2e_kg(summary).central, summary["seconds"]
    known: dict[str, Cell] = {
        "timestamp": _local(summary["updated"]),
        "project_name": project,
        "run_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"trainwatt:{summary['run']}:{summary['began']}")),
        "experiment_id": summary["run"],
        "duration": seconds,
        "emissions": emissions,
        "emissions_rate": emissions / seconds if seconds else None,
        "energy_consumed": summary["footprint"]["facility_kwh"]["central"],
        "water_consumed": summary["footprint"]["water_l"]["central"],
        "os": about["os"],
        "python_version": about["python"],
        "codecarbon_version": f"trainwatt {about['trainwatt']}",
        "cpu_count": about["cpu_count"],
        "cpu_model": facts.hardware_text(summary, ["cpu"]),
        "gpu_count": len(facts.devices(summary, "gpu")),
        "gpu_model": facts.hardware_text(summary, ["gpu"]),
        "ram_total_size": about["ram_gb"],
        "tracking_mode": "machine",
        "pue": facts.factor(summary, "pue")["value"],
        "wue": facts.factor(summary, "wue")["value"],
    }
    known |= _place(site) | _by_kind(summary)
    return {column: csv_cell(cell) if isinstance(cell := known.get(column), str) else cell for column in COLUMNS}


def append_emissions(path: str | os.PathLike[str], row: Mapping[str, Cell], *, force: bool = False) -> None:
    """Append a row to a file as CodeCarbon does.

    The row follows the column order of the file. A file with the columns of another version is first renamed to
    ``*.bak``.

    Args:
        path: the file; created if it does not exist.
        row: see :func:`emissions_row`.
        force: rename a file without emissions as well.

    Raises:
        ForeignFileError: the file holds no emissions.
        OSError: the file cannot be read or written.
    """
    file = Path(path)
    header = _header(file)
    if header is not None and sorted(header) != sorted(COLUMNS):
        if not force and not {"run_id", "emissions"} <= set(header):
            raise ForeignFileError(file, "it holds no emissions: give another name, or --force to rename it")
        _set_aside(file)
        header = None
    text = io.StringIO()
    writer = csv.DictWriter(text, header or COLUMNS, lineterminator="\n")
    if header is None:
        writer.writeheader()
    writer.writerow(row)
    append_lines(file, text.getvalue().encode())


def _header(file: Path) -> list[str] | None:
    try:
        head = read_head(file, _HEADER_BYTES).decode("utf-8-sig", "replace")
    except FileNotFoundError:
        return None
    try:
        return next(csv.reader(io.StringIO(head, newline="")), None)
    except csv.Error:
        # A file of another kind.
        return []


def _set_aside(file: Path) -> None:
    names = chain([f"{file.name}.bak"], (f"{file.name}_{number}.bak" for number in count()))
    file.rename(next(other for name in names if not (other := file.with_name(name)).exists()))


def _place(site: Mapping[str, Any]) -> dict[str, Cell]:
    known = site["zone"] != tables.WORLD
    country = tables.grids().get(site["zone"].partition("-")[0], _UNKNOWN)
    provider, _, region = (site["cloud"] or "").partition("/")
    return {
        "country_name": country["name"] if known else None,
        "country_iso_code": country["iso3"] if known else None,
        "region": site["name"].lower() if site["name"] != country["name"] else None,
        "cloud_provider": provider,
        "cloud_region": region,
        "on_cloud": "Y" if provider else "N",
    }


def _by_kind(summary: Mapping[str, Any]) -> dict[str, Cell]:
    """Return energy and mean power of CPU, GPU and RAM, including the facility's overhead."""
    cells: dict[str, Cell] = {}
    seconds, total_kwh = summary["seconds"], summary["total_kwh"]
    # Attempts of a run may have had a different PUE or plug factor.
    overhead = summary["footprint"]["facility_kwh"]["central"] / total_kwh if total_kwh else 1.0
    for kind in ("cpu", "gpu", "ram"):
        joules = sum(device["joules"] or 0.0 for device in facts.devices(summary, kind)) * overhead
        cells[f"{kind}_energy"] = joules / J_PER_KWH
        cells[f"{kind}_power"] = joules / seconds if seconds else None
    return cells


def _local(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%dT%H:%M:%S")
