"""Notes and metrics of a person's own, in a form that can always be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwatt.files.strict_json import PlainJson


def note_event(note: object) -> dict[str, Any]:
    """Return the event of a person's own note.

    A note may have any keys and any name, also those of our own events, so it stands apart from them: its kind is in
    ``name``, and all else is in ``data``. A value that is not JSON is null, with the reason in ``problems``.

    Args:
        note: mapping whose key ``event`` names the kind of note; anything else becomes the note's name.
    """
    made = PlainJson()
    if not isinstance(note, Mapping):
        return made.with_problems({"event": "note", "name": made.text("name", note), "data": {}})
    data = made.of("data", note)
    name = data.pop("event", "") if isinstance(data, dict) else ""
    data = data if isinstance(data, dict) else {}
    return made.with_problems({"event": "note", "name": name if isinstance(name, str) else str(name), "data": data})


def score_event(name: object, value: object) -> dict[str, Any]:
    """Return the event of a metric of the user's loop. A value that is no finite number is null, with the reason."""
    made = PlainJson()
    return made.with_problems({"event": "score", "name": made.text("name", name), "value": made.number("value", value)})
