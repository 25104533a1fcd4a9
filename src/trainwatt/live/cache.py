"""Disk cache of live figures, shared by successive and simultaneous runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwatt.live.provider import Interval, grams_of


@dataclass(frozen=True)
class Fetched:
    """All figures from one source.

    Attributes:
        time_s: time of the request by this machine's clock, seconds since the Unix epoch.
        skew_s: lead of the server's clock over it, seconds.
        actual, forecast: the figures.
        not_before_s: earliest time of the next request that the server allows.
    """

    time_s: float = 0.0
    skew_s: float = 0.0
    actual: tuple[Interval, ...] = ()
    forecast: tuple[Interval, ...] = ()
    not_before_s: float = 0.0


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return ``trainwatt`` in the user's cache folder; None without a home folder."""
    base = environ.get("XDG_CACHE_HOME") or environ.get("LOCALAPPDATA")
    home = environ.get("HOME")
    if base:
        return Path(base) / "trainwatt"
    return Path(home) / ".cache" / "trainwatt" if home else None


def load(folder: Path | None, key: str) -> Fetched:
    """Load the cached figures; empty if missing or unreadable."""
    if folder is None:
        return Fetched()
    try:
        return _fetched(json.loads((folder / _name(key)).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return Fetched()


def save(folder: Path | None, key: str, fetched: Fetched) -> None:
    """Save figures to the cache; readers see the old file or the new one. Write errors are ignored."""
    if folder is None:
        return
    temporary = folder / f"{_name(key)}.{os.getpid()}-{threading.get_ident()}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(vars(fetched)), encoding="utf-8")
        temporary.replace(folder / _name(key))
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _name(key: str) -> str:
    return re.sub(r"[^\w-]", "_", key) + ".json"


def _fetched(state: Any) -> Fetched:
    return Fetched(
        time_s=float(state["time_s"]),
        skew_s=float(state["skew_s"]),
        actual=_intervals(state["actual"]),
        forecast=_intervals(state["forecast"]),
        not_before_s=float(state["not_before_s"]),
    )


def _intervals(state: Any) -> tuple[Interval, ...]:
    return tuple(Interval(float(begin), float(end), grams_of(grams)) for begin, end, grams in state)
