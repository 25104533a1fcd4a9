"""A run read back from its folder, during or after training."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwatt.accounting.timeline import Span, SpanKey, merged, total_of
from trainwatt.distributed.liveness import is_gone, last_seen
from trainwatt.records.run_folder import EVENTS, SUMMARY
from trainwatt.records.summary import Summary, row_of
from trainwatt.records.summary_view import summary_view
from trainwatt.schema.event_log import EventLog, read_event_log
from trainwatt.schema.json_file import EncodingError, NotJsonError, parse, read_text
from trainwatt.schema.shape import DamagedError
from trainwatt.schema.summary import summary as checked_summary
from trainwatt.units import kwh_from_j

if TYPE_CHECKING:
    import pandas as pd


class RecordedRun:
    """A run folder that was read.

    Attributes:
        folder: the run folder.
        summary: content of ``summary.json``; if that is missing or cut short, a partial one restored from the events.
        log: content of ``events.jsonl``.
    """

    def __init__(self, folder: Path, summary: Summary, log: EventLog) -> None:
        self.folder, self.summary, self.log = folder, summary, log

    @property
    def events(self) -> tuple[dict[str, Any], ...]:
        """Content of ``events.jsonl``, oldest first; of more than 24 MB a part, as described in :class:`EventLog`."""
        return self.log.all

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.summary["run"])

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``stopped``, ``failed``, ``interrupted`` or ``killed``.

        ``killed`` means that the process ended without a final record. Of a run on another machine nobody can know it
        here: it is ``running``, and ``summary["last_seen"]`` holds when it has last written.
        """
        return str(self.summary["status"])

    @property
    def scores(self) -> dict[str, float]:
        """Last value of each evaluated metric, by name; NaN if it was no finite number."""
        unknown = math.nan
        return {
            event["name"]: unknown if event["value"] is None else event["value"] for event in self.log.of_kind("score")
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return the run by epoch, phase and part: seconds, steps, entries, joules, kwh and mean watts.

        The column ``epoch`` holds the number that the loop has given, ``loop`` how often these had started again
        before, and ``index`` a running number, which is unique. ``part`` is the name of a part of your own, and empty
        for the rest of the phase. The rows have no overlap: they add up to the run.

        Raises:
            ImportError: if pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415

        rows = [
            {"epoch": each["epoch"], "loop": each.get("loop", 0), "index": _index(each)}
            | {"phase": each["phase"], "part": name, **row_of(part)}
            for each in self.log.of_kind("span")
            for name, part in Span.from_dict(each).parts().items()
        ]
        return pd.DataFrame(rows, columns=["epoch", "loop", "index", "phase", "part", *row_of(Span())])

    def __repr__(self) -> str:
        return f"<RecordedRun {summary_view(self.summary, self.folder).line()}>"

    def _repr_html_(self) -> str:
        return self.summary._repr_html_()


def read_folder(folder: str | os.PathLike[str]) -> RecordedRun:
    """Read a run folder, of a running run or of one that ended in any way.

    Args:
        folder: the run folder, or the ``summary.json`` in it.

    Raises:
        FileNotFoundError: if there is no run folder.
        OSError: if it cannot be read.
        ValueError: if it is not a run folder of trainwatt, or its summary is damaged. The message names the file and
            the field.
    """
    path = Path(folder)
    path = path.parent if path.name == SUMMARY else path
    log = _events(path)
    summary = _summary(path, log)
    if summary is None:
        if not log.start:
            raise FileNotFoundError(f"{folder}: no run folder with a {SUMMARY} in it")
        summary = _from_events(log)
    summary.pop("last_seen", None)
    if summary["status"] == "running":
        summary |= _present_status(summary, log)
    return RecordedRun(path, Summary.of(summary, path), log)


def _present_status(summary: Mapping[str, Any], log: EventLog) -> dict[str, str]:
    """Return what has become of a run whose summary says that it is running."""
    if ends := log.of_kind("end"):
        # Its last summary could not be written.
        return {"status": ends[-1]["status"]}
    if is_gone(summary, log.start):
        return {"status": "killed"}
    seen = last_seen(summary, log.start)
    return {"last_seen": seen} if seen else {}


def _events(path: Path) -> EventLog:
    try:
        return read_event_log(path / EVENTS)
    except FileNotFoundError:
        return EventLog()


def _summary(path: Path, log: EventLog) -> dict[str, Any] | None:
    """Read and check a summary; None if it is missing, or so damaged that the events are all that is left."""
    file = path / SUMMARY
    try:
        return checked_summary(parse(read_text(file)))
    except FileNotFoundError:
        return None
    except (EncodingError, NotJsonError) as error:
        # It was cut short, by a full disk or a loss of power.
        if log.start:
            return None
        raise ValueError(str(error) if isinstance(error, EncodingError) else f"{file}: {error}") from None
    except DamagedError as error:
        raise ValueError(f"{file}: {error}") from None


def _from_events(log: EventLog) -> dict[str, Any]:
    """Restore a partial summary of a run that was killed before its first one: no devices, no site."""
    start, spans = log.start, log.of_kind("span")
    phases = merged((SpanKey(_index(each), each["phase"]), Span.from_dict(each)) for each in spans)
    total = total_of(phases)
    kwh = kwh_from_j(total.total_j)
    began = datetime.fromtimestamp(start["began_unix_s"], timezone.utc)
    return {
        "run": start["run"],
        "status": next((event["status"] for event in log.of_kind("end")), "running"),
        "began": began.isoformat(timespec="milliseconds"),
        "updated": (began + timedelta(seconds=total.seconds)).isoformat(timespec="milliseconds"),
        "seconds": total.seconds,
        # Earlier attempts have a negative index.
        "epochs": len({_index(each) for each in spans if _index(each) >= 0}),
        "total_j": total.total_j,
        "total_kwh": kwh,
        "total_kwh_low": kwh,
        "total_kwh_high": kwh,
        "phases": {phase: span.to_dict() for phase, span in phases.items()},
        "devices": [],
    }


def _index(span: Mapping[str, Any]) -> int:
    """Return the running index of an epoch; version 0.1 wrote only its number."""
    return int(span.get("index", span["epoch"]))
