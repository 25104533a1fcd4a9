"""Identities that never fail: of the host, of its present boot and of this process; the latter are in device ids."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from pathlib import Path

from trainwatt.power.host.pseudo_file import text_or_empty

_MINUTE_S = 60
_BOOT_ID = re.compile(r"[0-9a-f-]{32,36}", re.IGNORECASE)
# In place of the start of this process, if the system does not report it.
_LOADED_S = time.time()


def host_id(*, root: Path = Path("/")) -> str:
    """Return an identity of this host that stays the same when it boots again: 16 hexadecimal digits.

    It is a hash of the host's name and of systemd's machine id, if there is one: a machine id alone may be that of the
    image from which a cluster's nodes were made.

    Args:
        root: Folder that contains ``etc``.
    """
    machine = text_or_empty(root / "etc/machine-id")
    return _sha256(f"trainwatt|{platform.node()}|{machine}")[:16]


def boot_id(*, proc_root: Path = Path("/proc")) -> str:
    """Return an identity of this boot of this machine, the same in every process on it.

    Args:
        proc_root: Mount point of procfs.

    Returns:
        The kernel's random boot id on Linux; elsewhere 32 hexadecimal digits, a hash of host name and boot time.
    """
    kernels = text_or_empty(proc_root / "sys/kernel/random/boot_id")
    return kernels if _BOOT_ID.fullmatch(kernels) else _hash(platform.node(), _boot_time_s())


def process_id() -> str:
    """Return an identity of this process that no later one with the same number has."""
    import psutil  # noqa: PLC0415

    try:
        started_s = psutil.Process().create_time()
    # Without procfs, psutil raises errors of many kinds.
    except Exception:  # noqa: BLE001
        started_s = _LOADED_S
    return f"process-{os.getpid()}-{started_s:.0f}"


def _boot_time_s() -> float:
    """Return the time of the last boot; 0, the same for all of them, if the system does not report it."""
    import psutil  # noqa: PLC0415

    try:
        return float(psutil.boot_time())
    except Exception:  # noqa: BLE001
        return 0.0


def _hash(host: str, boot_time_s: float) -> str:
    """Hash host name and boot time, rounded to minutes as it jitters by a second on some systems."""
    return _sha256(f"{host}|{round(boot_time_s / _MINUTE_S)}")[:32]


def _sha256(text: str) -> str:
    # A name of a host may hold bytes that are no UTF-8.
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
