"""A run read back from its folder, during or after training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from trainwatt.accounting.timeline import Span, SpanKey, merged, total_of
from trainwatt.records.run_folder import pid_space, read_events, read_summary
from trainwatt.records.summary import Summary, row_of
from trainwatt.records.summary_view import summary_view
from trainwatt.units import kwh_from_j

if TYPE_CHECKING:
    import pandas as pd

# A live run replaces its summary every second.
_SILENT_S = 10.0
# If a process with the recorded id is alive, the run gets more time.
_GONE_S = 120.0


class RecordedRun:
    """A run folder that was read.

    Attributes:
        folder: the run folder.
        summary: content of ``summary.json``; if that is missing, a partial one restored from the events.
        events: content of ``events.jsonl``, oldest first.
    """

    def __init__(self, folder: Path, summary: Summary, events: tuple[dict[str, Any], ...]) -> None:
        self.folder, self.summary, self.events = folder, summary, events

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.summary["run"])

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed``, ``interrupted`` or ``killed``.

        ``killed`` means that the process ended without a final record.
        """
        return str(self.summary["status"])

    @property
    def scores(self) -> dict[str, float]:
        """Last value of each evaluated metric, by name."""
        return {event["name"]: event["value"] for event in self.events if event.get("event") == "score"}

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
            for each in self.events
            if each.get("event") == "span"
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
        ValueError: if it is not a run folder of trainwatt.
    """
    path = Path(folder)
    path = path.parent if path.name == "summary.json" else path
    events = _events(path)
    summary = _summary(path)
    if summary is None:
        if not events or events[0].get("event") != "start":
            raise FileNotFoundError(f"{folder}: no run folder with a summary.json in it")
        summary = _from_events(events)
    if summary.get("status") == "running" and is_gone(summary, events[0] if events else {}):
        summary["status"] = "killed"
    return RecordedRun(path, Summary.of(summary, path), events)


def _events(path: Path) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(read_events(path))
    except FileNotFoundError:
        return ()


def _summary(path: Path) -> dict[str, Any] | None:
    try:
        summary: Any = read_summary(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}: cannot read its summary.json: {error}") from None
    if not isinstance(summary, dict) or not {"run", "status", "total_j", "phases", "devices"} <= summary.keys():
        raise ValueError(f"{path}: its summary.json is not from trainwatt, or from an older version")
    return summary


def _from_events(events: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Restore a partial summary of a run that was killed before its first one: no devices, no site."""
    start = events[0]
    spans = [event for event in events if event["event"] == "span"]
    phases = merged((SpanKey(_index(each), each["phase"]), Span.from_dict(each)) for each in spans)
    total = total_of(phases)
    kwh = kwh_from_j(total.total_j)
    began = datetime.fromtimestamp(start["began_unix_s"], timezone.utc).isoformat(timespec="milliseconds")
    return {
        "run": start["run"],
        "status": next((event["status"] for event in events if event["event"] == "end"), "running"),
        "began": began,
        "updated": began,
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


def is_gone(summary: Mapping[str, Any], start: Mapping[str, Any]) -> bool:
    """Return True if no process updates a summary any more.

    Args:
        summary: of a run that has written no end.
        start: the first event of its folder; empty if it cannot be read.
    """
    updated = datetime.fromisoformat(summary["updated"])
    silent_s = (datetime.now(timezone.utc) - updated).total_seconds()
    space, pid = start.get("pid_space"), start.get("pid")
    # Elsewhere, the process id is that of another process.
    alive = space in (None, pid_space()) and pid is not None and _is_alive(pid)
    if space == pid_space() and not alive:
        return True
    return silent_s > (_GONE_S if alive else _SILENT_S)


def _is_alive(pid: int) -> bool:
    """Return True if a process exists that is no zombie, which waits for its parent only."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False
