"""Judgement on a run whose record has no end: whether the process that writes it is still there.

A process of this machine can be asked, and the monotonic clock of this boot tells for how long it has been silent: the
wall clock, which may jump, is not needed. Of a run on another machine only its files are known. Their times are those
of the file server, or of a clock that need not agree with ours, so that silence proves nothing.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from trainwatt.power.host.boot_id import boot_id, host_id

# A live run replaces its summary every second, but a network or a full disk may delay that.
SILENT_S = 30.0
_GONE_S = 120.0
# Resolution of the times at which processes began.
_TICK_S = 1.0


def pid_space() -> str:
    """Return an identity of the processes among which a process id is unique: this boot, and on Linux the container."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{boot_id()}/{namespace}"


def is_gone(summary: Mapping[str, Any], start: Mapping[str, Any], *, silent_s: float | None = None) -> bool:
    """Return True if no process updates a summary any more.

    Args:
        summary: checked; of a run that has written no end.
        start: the first event of its folder; empty if it cannot be read.
        silent_s: seconds since the summary was written, by the clock of its file server alone; None if unknown.
    """
    known = {**start, **summary.get("written", {})}
    if _boot(known) == boot_id():
        return _is_gone_here(summary, known)
    if _was_here_before(summary, known):
        return True
    if known.get("pid_space") is None:
        # Version 0.1 wrote no more than the process id.
        alive = known.get("pid") is not None and _is_alive(known["pid"])
        return _wall_silent_s(summary) > (_GONE_S if alive else SILENT_S)
    return silent_s is not None and silent_s > SILENT_S


def last_seen(summary: Mapping[str, Any], start: Mapping[str, Any]) -> str:
    """Return when a run of another machine has last written, ISO 8601; empty if it is of this one or was so just now.

    Args:
        summary: checked; of a run that may be running.
        start: the first event of its folder; empty if it cannot be read.
    """
    here = _boot({**start, **summary.get("written", {})}) == boot_id()
    if here or abs(_wall_silent_s(summary)) <= SILENT_S:
        return ""
    return datetime.fromisoformat(summary["updated"]).astimezone(timezone.utc).isoformat(timespec="seconds")


def _boot(known: Mapping[str, Any]) -> str | None:
    """Return the boot of the machine that wrote a record; None if it is unknown."""
    return known.get("boot") or (known.get("pid_space") or "").partition("/")[0] or None


def _is_gone_here(summary: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Return True if the process of a record of this boot has ended."""
    since_s = known.get("monotonic_s")
    silent_s = _wall_silent_s(summary) if since_s is None else time.monotonic() - since_s
    if known.get("pid_space") != pid_space():
        # It runs in another container, where its process id cannot be looked up.
        return silent_s > _GONE_S
    pid = known.get("pid")
    if pid is None or not _is_alive(pid) or (since_s is not None and _began_after(pid, since_s)):
        return True
    # Its clock may have jumped, and its disk may hang. Without a monotonic time, the id may be another process's.
    return since_s is None and silent_s > _GONE_S


def _was_here_before(summary: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Return True if a record is of this machine; its boot is known to be another one."""
    node = known.get("host")
    return bool(node) and node == platform.node() and summary.get("host") in (None, host_id())


def _wall_silent_s(summary: Mapping[str, Any]) -> float:
    return (datetime.now(timezone.utc) - datetime.fromisoformat(summary["updated"])).total_seconds()


def _is_alive(pid: int) -> bool:
    """Return True if a process exists that is no zombie, which waits for its parent only."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False


def _began_after(pid: int, monotonic_s: float) -> bool:
    """Return True if a process has certainly begun after a time on the monotonic clock: its id was used again."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        began_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        # The kernel counts the time of suspensions here, the monotonic clock does not.
        suspended_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        return began_s - suspended_s > monotonic_s + _TICK_S
    return False
