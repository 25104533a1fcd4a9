"""Several runs beside each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainwatt.errors import ArgumentError
from trainwatt.formatting import duration_text, energy_range_text, mass_range_text, table
from trainwatt.quantity import Quantity
from trainwatt.records.job_reader import read_run
from trainwatt.records.notebook_view import table_html
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.summary_view import Table

if TYPE_CHECKING:
    import pandas as pd


class Comparison:
    """Runs, least energy first.

    Attributes:
        runs: as they were read.
    """

    def __init__(self, runs: Iterable[RecordedRun]) -> None:
        self.runs = tuple(sorted(runs, key=lambda run: float(run.summary["total_kwh"])))

    def text(self) -> str:
        """As a table of letters."""
        shown = self._table()
        return table([shown.header, *shown.rows])

    def to_pandas(self) -> pd.DataFrame:
        """A row for each run: when, how long, energy with its range, emissions, place, and the last of each metric.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415  # it is not needed otherwise

        return pd.DataFrame([_row(run) for run in self.runs])

    def _repr_html_(self) -> str:
        return f'<div class="trainwatt">{table_html(self._table())}</div>'

    def __repr__(self) -> str:
        return self.text()

    def _table(self) -> Table:
        metrics = list(dict.fromkeys(name for run in self.runs for name in run.scores))
        rows = [
            (
                run.name,
                run.status,
                duration_text(run.summary["seconds"]),
                energy_range_text(_energy(run)),
                _emissions_text(run.summary),
                *(f"{run.scores[name]:.4g}" if name in run.scores else "" for name in metrics),
                run.summary.get("site", {}).get("name", ""),
            )
            for run in self.runs
        ]
        return Table(("run", "status", "time", "energy", "CO2e", *metrics, "where"), tuple(rows))


def compare(runs: Iterable[str | os.PathLike[str] | RecordedRun]) -> Comparison:
    """Put several runs beside each other.

    Args:
        runs: their folders, or what :func:`trainwatt.read_run` has made of them.

    Raises:
        FileNotFoundError: there is no run folder.
        ArgumentError: no run at all, or a single path where several are expected.
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
