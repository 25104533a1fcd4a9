"""Limits on CPU time and memory by a container or a job scheduler: Linux control groups, versions 1 and 2."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from trainwatt.power.host.pseudo_file import KeptFile, is_file, is_folder, read_text, text_or_empty
from trainwatt.units import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

REMEDY = 'scope="process" counts only the share of this process and its children; or set a limit'
"""Advice if a container or a job has no limit."""

_NANO = 1e-9
_STAT_BYTES = 16_384
# Digits of the largest number of 64 bits.
_DIGITS = 20
_PROCESSES = "cgroup.procs"

# Inodes of the machine's first namespaces: Linux, include/linux/proc_ns.h.
_HOSTS = {"cgroup": "cgroup:[4026531835]", "pid": "pid:[4026531836]"}
_POD_VARIABLE = "KUBERNETES_SERVICE_HOST"
_POD_PATH = re.compile(r"kubepods")
_CONTAINER_PATH = re.compile(r"docker[-/]|libpod|cri-?o|containerd|/lxc|/garden/|/ecs/|podman")


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """Limit on CPU time.

    Attributes:
        cpus: CPU-seconds per second that the group may use, e.g. 2.5.
        busy_s: Reads the group's CPU time so far, in CPU-seconds; raises OSError or ValueError. None if this process is
            not in the group that can be read.
        group_id: Identity of the group, the same for all processes in it.
    """

    cpus: float
    busy_s: Callable[[], float] | None
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


@dataclass(frozen=True, slots=True)
class CpuGroup:
    """Group of processes whose CPU time the kernel counts.

    Attributes:
        busy_s: Reads their CPU time so far, in CPU-seconds; raises OSError or ValueError.
        pids: Reads the ids of its present processes; raises OSError or ValueError. 0 is a process that this one cannot
            see.
    """

    busy_s: Callable[[], float]
    pids: Callable[[], frozenset[int]]


class _Mount(NamedTuple):
    """Mounted hierarchy of groups.

    Attributes:
        root: Path in the hierarchy of the group that is mounted.
        top: Folder of that group.
    """

    root: Sequence[str]
    top: Path


class _Group(NamedTuple):
    """Group of ours, or one above it.

    Attributes:
        folder: Its folder.
        top: Folder of the topmost group that can be seen.
        ours: False if this process is not in it: in a container, that of another one may be seen.
    """

    folder: Path
    top: Path
    ours: bool = True


def cpu_quota(*, proc_root: Path = Path("/proc"), sys_root: Path = Path("/sys")) -> CpuQuota | None:
    """Return the tightest CPU quota on this process; None if there is none.

    Args:
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    cpuacct = _mount("cpuacct", proc_root, sys_root)
    quotas = [
        *(quota for group in _groups("", proc_root, sys_root) if (quota := _or_none(_quota_v2, group))),
        *(quota for group in _groups("cpu", proc_root, sys_root) if (quota := _or_none(_quota_v1, group, cpuacct.top))),
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
        *(group.folder / "memory.max" for group in _groups("", proc_root, sys_root)),
        *(group.folder / "memory.limit_in_bytes" for group in _groups("memory", proc_root, sys_root)),
    ]
    numbers = [(file.parent, int(text)) for file in files if (text := text_or_empty(file)[:_DIGITS]).isdecimal()]
    limits = [_or_none(_memory_limit, folder, number) for folder, number in numbers if number > 0]
    return min(filter(None, limits), key=lambda limit: limit.limit_bytes, default=None)


def own_group(*, proc_root: Path = Path("/proc"), sys_root: Path = Path("/sys")) -> CpuGroup | None:
    """Return the innermost group of this process whose CPU time can be read; None if there is none.

    A group that contains other groups is left out.

    Args:
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    for controller in ("", "cpuacct"):
        group = next(_groups(controller, proc_root, sys_root), None)
        if group is None or not group.ours or _contains_groups(group.folder):
            continue
        if (busy_s := _busy_clock(group.folder)) and is_file(group.folder / _PROCESSES):
            return CpuGroup(busy_s, functools.partial(_pids, group.folder / _PROCESSES))
    return None


def named_group_s(
    names: Sequence[re.Pattern[str]], *, proc_root: Path = Path("/proc"), sys_root: Path = Path("/sys")
) -> Callable[[], float] | None:
    """Return a function that reads the CPU-seconds of a group above this process; None if there is no such group.

    Args:
        names: Patterns of the names of the group and its parents, innermost first, without gaps.
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    for controller in ("", "cpuacct"):
        for group in _groups(controller, proc_root, sys_root):
            folders = (group.folder, *group.folder.parents)
            fits = all(name.fullmatch(folder.name) for name, folder in zip(names, folders, strict=False))
            if group.ours and fits and (busy_s := _busy_clock(group.folder)):
                return busy_s
    return None


def container(*, environ: Mapping[str, str] = os.environ, proc_root: Path = Path("/proc")) -> str:
    """Return ``"Kubernetes pod"`` or ``"container"`` if this process runs in one; else an empty string.

    Args:
        environ: Environment variables.
        proc_root: Mount point of procfs.
    """
    paths = text_or_empty(proc_root / "self/cgroup")
    if environ.get(_POD_VARIABLE) or _POD_PATH.search(paths):
        return "Kubernetes pod"
    isolated = any(_namespace(proc_root, kind) not in ("", host) for kind, host in _HOSTS.items())
    if isolated or _CONTAINER_PATH.search(paths):
        return "container"
    return ""


def _pids(file: Path) -> frozenset[int]:
    return frozenset(map(int, read_text(file).split()))


def _contains_groups(folder: Path) -> bool:
    try:
        return any(is_folder(child) for child in folder.iterdir())
    except OSError:
        return True


def _namespace(proc_root: Path, kind: str) -> str:
    try:
        return str((proc_root / "self/ns" / kind).readlink())
    except OSError:
        return ""


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


def _groups(controller: str, proc_root: Path, sys_root: Path) -> Iterator[_Group]:
    """Yield our group and its parents as far as they can be seen, innermost first.

    Args:
        controller: Controller of version 1, or an empty string for version 2.
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    path = _group_path(controller, proc_root)
    mount = _mount(controller, proc_root, sys_root)
    if path is None or not is_folder(mount.top):
        return
    parts, known = _below(path, mount)
    folders = [mount.top.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]
    for folder in folders:
        if is_folder(folder):
            yield _Group(folder, mount.top, ours=known or _holds_us(folder))


def _below(path: Sequence[str], mount: _Mount) -> tuple[Sequence[str], bool]:
    """Return the path of our group below the mounted one, and False if this is a guess.

    Both paths are relative to the same group, that of the namespace, so that they may begin with ``..``. If our group
    is not below the mounted one, we were put into a container from outside, or the path is that on the host. The
    longest end of the path that begins below the mounted group is then taken, or else that group itself.
    """
    root = list(mount.root)
    if list(path[: len(root)]) == root and ".." not in path[len(root) :]:
        below = path[len(root) :]
        if is_folder(mount.top.joinpath(*below[:1])):
            return below, True
    names = [name for name in path if name != ".."]
    ends = (names[first:] for first in range(len(names) + 1))
    return next((end for end in ends if is_folder(mount.top.joinpath(*end[:1]))), []), False


def _holds_us(folder: Path) -> bool:
    """Return False if a group and those in it list their processes, and we are none of them."""
    try:
        lists = [read_text(file).split() for file in folder.rglob(_PROCESSES)]
    except OSError:
        return True
    return not lists or any(str(os.getpid()) in pids for pids in lists)


def _group_path(controller: str, proc_root: Path) -> list[str] | None:
    """Return our path in a hierarchy, from lines such as ``4:cpu,cpuacct:/job`` and, for version 2, ``0::/job``."""
    for line in text_or_empty(proc_root / "self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controller in controllers.split(","):
            return [part for part in path.split("/") if part]
    return None


def _mount(controller: str, proc_root: Path, sys_root: Path) -> _Mount:
    """Find the mount of a hierarchy, whose line is ``… root mount-point … - type source options``; see proc(5)."""
    for line in text_or_empty(proc_root / "self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        where, what = before.split(), after.split()
        if len(where) > 4 and len(what) > 2 and _is_hierarchy(controller, what[0], what[2]):
            point = Path(where[4])
            top = sys_root / point.relative_to("/sys") if point.is_relative_to("/sys") else point
            if is_folder(top):
                return _Mount([part for part in where[3].split("/") if part], top)
    top = sys_root / "fs/cgroup" / controller
    unified = top / "unified"
    return _Mount([], unified if not controller and is_folder(unified) else top)


def _is_hierarchy(controller: str, kind: str, options: str) -> bool:
    return kind == "cgroup2" if not controller else kind == "cgroup" and controller in options.split(",")


def _quota_v2(group: _Group) -> CpuQuota | None:
    quota, _, period = text_or_empty(group.folder / "cpu.max").partition(" ")
    return _quota(quota, period, group, group.folder)


def _quota_v1(group: _Group, cpuacct: Path) -> CpuQuota | None:
    quota = text_or_empty(group.folder / "cpu.cfs_quota_us")
    period = text_or_empty(group.folder / "cpu.cfs_period_us")
    return _quota(quota, period, group, cpuacct / group.folder.relative_to(group.top))


def _quota(quota: str, period: str, group: _Group, counted: Path) -> CpuQuota | None:
    if not all(each.isdecimal() and len(each) <= _DIGITS and int(each) > 0 for each in (quota, period)):
        return None
    busy_s = _busy_clock(counted) if group.ours else None
    return CpuQuota(int(quota) / int(period), busy_s, _group_id(group.folder))


def _busy_clock(folder: Path) -> Callable[[], float] | None:
    """Return a function that reads a group's CPU time; None if it is not counted."""
    usage, stat = folder / "cpuacct.usage", KeptFile(folder / "cpu.stat")
    if is_file(usage):
        kept = KeptFile(usage)
        return lambda: int(kept.read()) * _NANO
    try:
        _usage_s(stat)
    except (OSError, ValueError):
        return None
    return lambda: _usage_s(stat)


def _usage_s(stat: KeptFile) -> float:
    for line in stat.read().splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) * MICRO
    raise ValueError(f"{stat.path} has no usage_usec")


def _group_id(folder: Path) -> str:
    """Identify a group by its inode, as its path differs inside and outside of its container."""
    return f"cgroup-{folder.stat().st_ino}"


def _or_none(read: Callable[..., T], *arguments: object) -> T | None:
    """Read a group; return None if it vanishes meanwhile."""
    try:
        return read(*arguments)
    except OSError:
        return None
