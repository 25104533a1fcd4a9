"""Run folders written by hand, as another program or an earlier version may have left them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def written(
    folder: Path, events: Iterable[Mapping[str, Any]] = (), summary: Mapping[str, Any] | None = None, *, cut: str = ""
) -> Path:
    """Write a run folder, and return it.

    Args:
        folder: the run folder; made if missing.
        events: for ``events.jsonl``.
        summary: for ``summary.json``; None for a folder without one.
        cut: beginning of a last line of the events.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "events.jsonl").write_text(lines + cut, encoding="utf-8")
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder
