"""Limits on CPU time and memory by a container or a job scheduler: Linux control groups, versions 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.power.host.pseudo_file import KeptFile
from trainwatt.units import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NANO = 1e-9
_STAT_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """Limit on CPU time.

    Attributes:
        cpus: CPU-seconds per second that the group may use, e.g. 2.5.
        busy_s: Reads the group's CPU time so far, in CPU-seconds; raises OSError or ValueError.
        group_id: Identity of the group, the same for all processes in it.
    """

    cpus: float
    busy_s: Callable[[], float]
    group_id: str


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Limit on memory.

    Attributes:
        limit_bytes: Largest memory that the group may use.
        used_bytes: Reads the memory in use, without the page cache; raises OSError or ValueError.
        group_id: Identity of the group, the same for all processes in it.
    """

    limit_bytes: int
    used_bytes: Callable[[], int]
    group_id: str


def cpu_quota(*, proc_root: Path = Path("/proc"), sys_root: Path = Path("/sys")) -> CpuQuota | None:
    """Return the tightest CPU quota on this process; None if there is none.

    Args:
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    quotas = [
        *(quota for folder in _groups("", proc_root, sys_root) if (quota := _quota_v2(folder))),
        *(quota for folder in _groups("cpu", proc_root, sys_root) if (quota := _quota_v1(folder, sys_root))),
    ]
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def memory_limit(*, proc_root: Path = Path("/proc"), sys_root: Path = Path("/sys")) -> MemoryLimit | None:
    """Return the tightest memory limit on this process; None if there is none.

    In version 1, a group without a limit has a very large one.

    Args:
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    files = [
        *(folder / "memory.max" for folder in _groups("", proc_root, sys_root)),
        *(folder / "memory.limit_in_bytes" for folder in _groups("memory", proc_root, sys_root)),
    ]
    limits = [_memory_limit(file.parent, int(text)) for file in files if (text := _text(file)).isdigit()]
    return min(limits, key=lambda limit: limit.limit_bytes, default=None)


def _memory_limit(folder: Path, limit_bytes: int) -> MemoryLimit:
    stat = KeptFile(folder / "memory.stat", size=_STAT_BYTES)
    return MemoryLimit(limit_bytes, lambda: _used_bytes(stat), _group_id(folder))


def _used_bytes(stat: KeptFile) -> int:
    """Return anonymous and shared memory, nested groups included; version 1 calls the former ``total_rss``."""
    lines = [line.partition(" ") for line in stat.read().splitlines()]
    facts = {key: int(value) for key, _, value in lines if value.isdigit()}
    used = facts.get("anon", facts.get("total_rss"))
    if used is None:
        raise ValueError(f"{stat.path} does not report anonymous memory")
    return used + (facts.get("shmem", 0) if "anon" in facts else facts.get("total_shmem", 0))


def _groups(controller: str, proc_root: Path, sys_root: Path) -> Iterator[Path]:
    """Yield our group and its parents, innermost first; a container may show its own group as the root."""
    path = _group_path(controller, proc_root)
    top = sys_root / "fs/cgroup" / controller
    if path is None or not top.is_dir():
        return
    folder = top / path
    while folder != top:
        if folder.is_dir():
            yield folder
        folder = folder.parent
    yield top


def _group_path(controller: str, proc_root: Path) -> str | None:
    """Return our path in a hierarchy, from lines such as ``4:cpu,cpuacct:/job`` and, for version 2, ``0::/job``."""
    for line in _text(proc_root / "self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controller in controllers.split(",") and ".." not in path:
            return path.lstrip("/")
    return None


def _quota_v2(folder: Path) -> CpuQuota | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    if not (quota.isdigit() and period.isdigit()):
        return None
    stat = KeptFile(folder / "cpu.stat")
    return CpuQuota(int(quota) / int(period), lambda: _usage_s(stat), _group_id(folder))


def _quota_v1(folder: Path, sys_root: Path) -> CpuQuota | None:
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    if not (quota.isdigit() and period.isdigit()):
        return None
    group = folder.relative_to(sys_root / "fs/cgroup/cpu")
    usage = KeptFile(sys_root / "fs/cgroup/cpuacct" / group / "cpuacct.usage")
    return CpuQuota(int(quota) / int(period), lambda: int(usage.read()) * _NANO, _group_id(folder))


def _usage_s(stat: KeptFile) -> float:
    for line in stat.read().splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) * MICRO
    raise ValueError(f"{stat.path} has no usage_usec")


def _group_id(folder: Path) -> str:
    """Identify a group by its inode, as its path differs inside and outside of its container."""
    return f"cgroup-{folder.stat().st_ino}"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
