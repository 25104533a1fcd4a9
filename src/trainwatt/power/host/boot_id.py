"""Which machine this is: the part of a device's identity that every process on the machine agrees on."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import psutil

_MINUTE_S = 60


def boot_id(*, proc_root: Path = Path("/proc")) -> str:
    """An identity of this boot of this machine, the same in every process on it.

    Args:
        proc_root: where procfs is mounted.

    Returns:
        The kernel's random boot id on Linux; elsewhere 32 hexadecimal digits made of host name and start time.
    """
    try:
        return (proc_root / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _hash(platform.node(), psutil.boot_time())


def _hash(host: str, boot_time_s: float) -> str:
    """A stand-in for a boot id; the start time jitters by a second on some systems, hence whole minutes."""
    return hashlib.sha256(f"{host}|{round(boot_time_s / _MINUTE_S)}".encode()).hexdigest()[:32]
