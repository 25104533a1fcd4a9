"""Disk cache of live figures, shared by successive and simultaneous runs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwatt.files.output_file import replace
from trainwatt.files.strict_json import dumps
from trainwatt.live.provider import Interval, checked_interval
from trainwatt.schema.json_file import parse, read_text

# Forty days of figures every five minutes, many times over.
_MOST_BYTES = 4_000_000
# Beyond, a number of seconds is no time.
_MOST_S = 1e11


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
    """Load the cached figures; empty if missing or spoilt, whatever the file is."""
    if folder is None:
        return Fetched()
    try:
        return _fetched(parse(read_text(folder / _name(key), most_bytes=_MOST_BYTES)))
    # Other programs and users may have written there.
    except Exception:  # noqa: BLE001
        return Fetched()


def save(folder: Path | None, key: str, fetched: Fetched) -> None:
    """Save figures to the cache; readers see the old file or the new one. Write errors are ignored."""
    if folder is None:
        return
    with contextlib.suppress(OSError, ValueError):
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / _name(key), dumps(vars(fetched)).encode())


def _name(key: str) -> str:
    return re.sub(r"[^\w-]", "_", key) + ".json"


def _fetched(state: Any) -> Fetched:
    time_s, skew_s, not_before_s = (_finite(state[name]) for name in ("time_s", "skew_s", "not_before_s"))
    return Fetched(time_s, skew_s, _intervals(state["actual"]), _intervals(state["forecast"]), not_before_s)


def _finite(value: Any) -> float:
    number = float(value)
    if not abs(number) < _MOST_S:
        raise ValueError("no time")
    return number


def _intervals(state: Any) -> tuple[Interval, ...]:
    return tuple(checked_interval(*each) for each in state)
