"""Comparison of several runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainwatt.errors import ArgumentError
from trainwatt.escaping.markup import element
from trainwatt.export import facts
from trainwatt.formatting import duration_text, energy_range_text, mass_range_text, table
from trainwatt.quantity import Quantity
from trainwatt.records.job_reader import read_run
from trainwatt.records.notebook_view import table_html
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.summary_view import Table

if TYPE_CHECKING:
    import pandas as pd


class Comparison:
    """Several runs, shown as a table in a notebook.

    Attributes:
        runs: the recorded runs, lowest energy first.
    """

    def __init__(self, runs: Iterable[RecordedRun]) -> None:
        self.runs = tuple(sorted(runs, key=lambda run: float(run.summary["total_kwh"])))

    def text(self) -> str:
        """Format the comparison as a plain-text table."""
        shown = self._table()
        return table([shown.header, *shown.rows])

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame with one row per run.

        The columns are start, duration, energy with its range, emissions, zone and the last value of each metric.

        Raises:
            ImportError: pandas is not installed.
        """
        # Deferred: pandas is optional.
        import pandas as pd  # noqa: PLC0415

        return pd.DataFrame([_row(run) for run in self.runs])

    def _repr_html_(self) -> str:
        return element("div", table_html(self._table()), class_="trainwatt")

    def __repr__(self) -> str:
        return self.text()

    def _table(self) -> Table:
        metrics = list(dict.fromkeys(name for run in self.runs for name in run.scores))
        rows = [
            (
                run.name,
                run.status,
                duration_text(run.summary["seconds"]),
                " ".join(filter(None, (energy_range_text(_energy(run)), facts.uncounted_text(run.summary)))),
                _emissions_text(run.summary),
                *(f"{run.scores[name]:.4g}" if name in run.scores else "" for name in metrics),
                run.summary.get("site", {}).get("name", ""),
            )
            for run in self.runs
        ]
        return Table(("run", "status", "time", "energy", "CO2e", *metrics, "location"), tuple(rows))


def compare(runs: Iterable[str | os.PathLike[str] | RecordedRun]) -> Comparison:
    """Compare several runs.

    Args:
        runs: run folders, or runs read with :func:`trainwatt.read_run`.

    Raises:
        FileNotFoundError: a path is not a run folder.
        ArgumentError: ``runs`` is empty, or a single path.
    """
    if isinstance(runs, (str, os.PathLike)):
        raise ArgumentError("runs", runs, "several run folders, such as Path('footprint').iterdir()")
    read = [run if isinstance(run, RecordedRun) else read_run(run) for run in runs]
    if not read:
        raise ArgumentError("runs", read, "at least one run folder")
    return Comparison(read)


def _energy(run: RecordedRun) -> Quantity:
    return Quantity(run.summary["total_kwh_low"], run.summary["total_kwh"], run.summary["total_kwh_high"])


def _emissions_text(summary: Mapping[str, Any]) -> str:
    return mass_range_text(Quantity(**summary["footprint"]["co2e_kg"])) if "footprint" in summary else ""


def _row(run: RecordedRun) -> dict[str, Any]:
    summary = run.summary
    names = ("run", "status", "began", "seconds", "epochs", "total_kwh", "total_kwh_low", "total_kwh_high")
    known = {name: summary[name] for name in names} | {"measured_share": summary.get("measured_share")}
    if "footprint" in summary:
        known |= {"co2e_kg": summary["footprint"]["co2e_kg"]["central"], "zone": summary["site"]["zone"]}
    return {**known, **run.scores, "folder": str(run.folder)}
