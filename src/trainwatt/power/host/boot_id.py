"""Identities of the machine: of its present boot, which is a part of device ids, and of the host."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

_MINUTE_S = 60


def host_id(*, root: Path = Path("/")) -> str:
    """Return an identity of this host that stays the same when it boots again: 16 hexadecimal digits.

    It is a hash of the host's name and of systemd's machine id, if there is one: a machine id alone may be that of the
    image from which a cluster's nodes were made.

    Args:
        root: Folder that contains ``etc``.
    """
    try:
        machine = (root / "etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    return hashlib.sha256(f"trainwatt|{platform.node()}|{machine}".encode()).hexdigest()[:16]


def boot_id(*, proc_root: Path = Path("/proc")) -> str:
    """Return an identity of this boot of this machine, the same in every process on it.

    Args:
        proc_root: Mount point of procfs.

    Returns:
        The kernel's random boot id on Linux; elsewhere 32 hexadecimal digits, a hash of host name and boot time.
    """
    try:
        return (proc_root / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        import psutil  # noqa: PLC0415

        return _hash(platform.node(), psutil.boot_time())


def _hash(host: str, boot_time_s: float) -> str:
    """Hash host name and boot time, rounded to minutes as it jitters by a second on some systems."""
    return hashlib.sha256(f"{host}|{round(boot_time_s / _MINUTE_S)}".encode()).hexdigest()[:32]
