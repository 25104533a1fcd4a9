"""Events of a run, read once and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwatt.schema import events as shapes
from trainwatt.schema.json_file import NotJsonError, lines, parse

Event = dict[str, Any]

# Text that is kept. A month of training with a thousand evaluations has about a megabyte.
_KEPT_BYTES = 24 * 2**20
# An event takes more memory than its text.
_EVENT_BYTES = 400
# Names of devices, phases and parts that are told apart in a sum.
_MOST_NAMES = 1000
_REST = "other"
_KEPT_ALWAYS = frozenset({"start", "end", "resumed"})


@dataclass(slots=True)
class _Entry:
    """Event that is kept.

    Attributes:
        event: the event.
        kind: of an event of ours; empty for a person's note.
        size: in bytes, approximately.
        folded: number of events that it stands for, since the last time that their number was halved.
    """

    event: Event
    kind: str
    size: int
    folded: int = 1

    def group(self, *, narrow: bool) -> tuple[str, str]:
        """Return what it can be folded into: events of its kind, and in a narrow group those of its phase or metric."""
        field = "phase" if self.kind == "span" else "name" if self.kind else "event"
        return self.kind, str(self.event.get(field, ""))[:80] if narrow else ""

    def fold(self, later: _Entry) -> None:
        """Let this event stand for a later one as well: add up what adds up, and leave out the rest."""
        self.folded += later.folded
        if sum_up := _SUMS.get(self.kind):
            sum_up(self.event, later.event)
            self.size = max(self.size, later.size)


class EventLog:
    """Events of a run, oldest first.

    If they have more than 24 MB, neighbouring spans and powers are added up, which keeps their totals, and of each two
    evaluations, projections and notes one is left out, as often as necessary.

    Args:
        events: in any form.

    Attributes:
        damaged: number of lines that could not be read.
        events_per_entry: number of like events that one kept event stands for; 1 if all were kept.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.damaged = 0
        self.events_per_entry = 1
        self._entries: list[_Entry] = []
        self._open: dict[tuple[str, str], _Entry] = {}
        self._bytes = 0
        for event in events:
            self.add(event, 0)

    @property
    def all(self) -> tuple[Event, ...]:
        """All events, those of ours in their checked form."""
        return tuple(entry.event for entry in self._entries)

    def of_kind(self, *kinds: str) -> list[Event]:
        """Return our events of some kinds; a person's note of such a name is none."""
        return [entry.event for entry in self._entries if entry.kind in kinds]

    @property
    def start(self) -> Mapping[str, Any]:
        """Event with which the run began; empty if it cannot be read."""
        return next(iter(self.of_kind("start")), {})

    def add(self, event: Event, size: int) -> None:
        """Add an event.

        Args:
            event: any object.
            size: bytes of its text.
        """
        own = shapes.checked(event)
        entry = _Entry(event if own is None else own, "" if own is None else event["event"], size + _EVENT_BYTES)
        if self.events_per_entry > 1 and entry.kind not in _KEPT_ALWAYS:
            earlier = self._open.get(entry.group(narrow=True))
            if earlier is not None and earlier.folded < self.events_per_entry:
                earlier.fold(entry)
                return
            self._open[entry.group(narrow=True)] = entry
        self._entries.append(entry)
        self._bytes += entry.size
        if self._bytes > _KEPT_BYTES:
            self._halve(narrow=True)

    def _halve(self, *, narrow: bool) -> None:
        """Fold each second event of a group into the one before it."""
        kept: list[_Entry] = []
        waiting: dict[tuple[str, str], _Entry] = {}
        for entry in self._entries:
            key = entry.group(narrow=narrow)
            earlier = None if entry.kind in _KEPT_ALWAYS and narrow else waiting.pop(key, None)
            if earlier is not None:
                earlier.fold(entry)
            else:
                kept.append(entry)
                waiting[key] = entry
        for entry in kept:
            entry.folded = 1
        self._entries, self._open = kept, {}
        self._bytes = sum(entry.size for entry in kept)
        self.events_per_entry *= 2
        if self._bytes > _KEPT_BYTES * 3 // 4:
            # Each has a name of its own: no file of ours is like that.
            self._halve(narrow=False)


def read_event_log(path: Path) -> EventLog:
    """Read the events of a run; lines that are damaged, such as by a full disk, are left out.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read.
        ValueError: if it is no regular file.
    """
    log = EventLog()
    for line in lines(path):
        try:
            event = parse(line) if line is not None else None
        except NotJsonError:
            event = None
        if isinstance(event, dict):
            log.add(event, len(line or ""))
        elif line is None or line.strip():
            log.damaged += 1
    return log


def _sum_spans(one: Event, other: Event) -> None:
    one["seconds"] += other["seconds"]
    for field in ("entries", "steps"):
        one[field] = one.get(field, 0) + other.get(field, 0)
    _sum_tables(one["joules"], other["joules"])
    labels = one.setdefault("labels", {}) if other.get("labels") else {}
    for label, part in other.get("labels", {}).items():
        if label in labels:
            _sum_spans(labels[label], part)
        elif len(labels) < _MOST_NAMES:
            labels[label] = part


def _sum_powers(one: Event, other: Event) -> None:
    one["stretches"] = [*_paired(one["stretches"]), *_paired(other["stretches"])]


def _paired(stretches: list[Event]) -> list[Event]:
    """Add up each two stretches; one alone stays."""
    for first, second in zip(stretches[::2], stretches[1::2], strict=False):
        first["joules"] += second["joules"]
        _sum_tables(first["seconds"], second["seconds"])
    return stretches[::2]


def _sum_tables(one: dict[str, float], other: Mapping[str, float]) -> None:
    for name, value in other.items():
        key = name if name in one or len(one) < _MOST_NAMES else _REST
        one[key] = one.get(key, 0.0) + value


_SUMS: Mapping[str, Callable[[Event, Event], None]] = {"span": _sum_spans, "power": _sum_powers}
