"""Summary of a run with a notebook view."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.accounting.timeline import Span
from trainwatt.escaping.markup import element
from trainwatt.units import kwh_from_j

if TYPE_CHECKING:
    import pandas as pd


class Summary(dict[str, Any]):
    """Content of ``summary.json`` as a dictionary, with an HTML view for notebooks."""

    folder: Path | None = None

    @classmethod
    def of(cls, summary: Mapping[str, Any], folder: Path | None = None) -> Summary:
        """Return a summary that knows its run folder."""
        made = cls(summary)
        made.folder = folder
        return made

    def _repr_html_(self) -> str:
        # Rarely used, and importing them takes milliseconds.
        from trainwatt.records.notebook_view import summary_html  # noqa: PLC0415
        from trainwatt.records.summary_view import summary_view  # noqa: PLC0415

        return (
            summary_html(summary_view(self, self.folder)) if self else element("p", "trainwatt: no run has ended yet")
        )

    def text(self) -> str:
        """Return the text that is printed at the end of a run."""
        from trainwatt.records.summary_view import summary_view  # noqa: PLC0415

        return summary_view(self, self.folder).text() if self else ""

    def to_pandas(self) -> pd.DataFrame:
        """Return a row per phase: seconds, steps, entries, joules, kwh and mean watts.

        Raises:
            ImportError: if pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415

        rows = {phase: row_of(Span.from_dict(span)) for phase, span in self.get("phases", {}).items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("phase")


def row_of(span: Span) -> dict[str, float]:
    """Return a span as a row of a data frame."""
    return {
        "seconds": span.seconds,
        "steps": span.steps,
        "entries": span.entries,
        "joules": span.total_j,
        "kwh": kwh_from_j(span.total_j),
        "watts": span.total_j / span.seconds if span.seconds > 0 else 0.0,
    }
