"""CPU time of the machine, of some of its CPUs or of our processes, in CPU-seconds since an arbitrary origin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.power.host.process_tree import ProcessTree, own_tree
from trainwatt.power.host.pseudo_file import KeptFile, entries, is_file, text_or_empty

if TYPE_CHECKING:
    from trainwatt.power.host.cgroup import CpuGroup

_STAT_BYTES_PER_CPU = 256
# Linux, NR_CPUS: at most 8,192 on x86.
_MOST_CPUS = 65_536
# user, nice, system, irq, softirq. The time of guests is included in user; steal is the time of other guests.
_BUSY_FIELDS = (1, 2, 3, 6, 7)

BusyClock = Callable[[], float]
"""Function that returns the CPU-seconds used so far; raises OSError, ValueError or psutil.Error."""


def own_cpus(*, proc_root: Path = Path("/proc")) -> frozenset[int] | None:
    """Return the logical CPUs on which any thread of this process may run; None if the system does not report them.

    All threads are considered, since OpenMP may have pinned each of them to a different CPU.

    Args:
        proc_root: Mount point of procfs.
    """
    cpus: set[int] = set()
    for thread in entries(proc_root / "self/task"):
        # Empty if the thread has ended.
        for line in text_or_empty(thread / "status").splitlines():
            if line.startswith("Cpus_allowed_list:"):
                try:
                    cpus |= parse_cpu_list(line.partition(":")[2].strip())
                except ValueError:
                    return None
    return frozenset(cpus) or None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Parse the kernel's notation of CPU numbers, e.g. ``0-3,8``.

    Raises:
        ValueError: It is something else, or has more CPUs than any machine.
    """
    spans = [span.partition("-") for span in text.split(",") if span]
    if any(int(high or low) >= _MOST_CPUS for low, _, high in spans):
        raise ValueError(f"{text}: a machine has fewer CPUs")
    return frozenset(cpu for low, _, high in spans for cpu in range(int(low), int(high or low) + 1))


def format_cpu_list(cpus: frozenset[int]) -> str:
    """Format CPU numbers in the kernel's notation, e.g. ``0-3,8``."""
    starts = sorted(cpu for cpu in cpus if cpu - 1 not in cpus)
    ends = sorted(cpu for cpu in cpus if cpu + 1 not in cpus)
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in zip(starts, ends, strict=True))


class MachineTime:
    """CPU time of the whole machine or of some of its CPUs.

    Args:
        cpus: Logical CPUs to count; None: all.
        proc_root: Mount point of procfs; without a file ``stat`` there, psutil is used.
    """

    def __init__(self, cpus: frozenset[int] | None = None, *, proc_root: Path = Path("/proc")) -> None:
        self._names = {f"cpu{cpu}" for cpu in cpus} if cpus is not None else {"cpu"}
        stat = proc_root / "stat"
        self._stat = KeptFile(stat, size=_stat_bytes()) if is_file(stat) else None

    def __call__(self) -> float:
        """Return the CPU-seconds so far.

        Raises:
            Exception: The system does not report CPU time; mostly an OSError, ValueError or IndexError.
        """
        if self._stat is None:
            times = psutil.cpu_times()
            return float(times.user + times.system + getattr(times, "nice", 0.0))
        rows = [line.split() for line in self._stat.read().splitlines() if line.startswith("cpu")]
        ours = [row for row in rows if row[0] in self._names]
        if not any(int(row[4]) for row in ours):
            raise ValueError(f"{self._stat.path} does not count CPU time")
        return sum(int(row[field]) for row in ours for field in _BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


class ProcessTreeTime:
    """CPU time of a process and its descendants, including those that have ended.

    If the process and its descendants have a control group for themselves, such as that of a container, time that the
    group has used beyond theirs counts too: a short-lived daemon is known to nobody else. Processes that have started
    ours and wait for it, such as a shell, may be in the group.

    Args:
        tree: The processes; None: this one and its descendants.
        group: Our control group; None: unknown.
        clock: Source of the time.
    """

    def __init__(
        self, tree: ProcessTree | None = None, group: CpuGroup | None = None, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._tree = tree or own_tree(clock)
        self._ancestors = _ancestors(self._tree.root)
        self._group = group
        self._last: tuple[float, float] | None = None
        self._group_s = self._tree_s = self._beyond_s = 0.0

    def __call__(self) -> float:
        """Return the CPU-seconds so far.

        Raises:
            psutil.Error: The system does not report them.
        """
        tree_s = self._tree.used_s()
        if self._group is not None:
            self._compare(self._group, tree_s)
        return tree_s + self._beyond_s

    def _compare(self, group: CpuGroup, tree_s: float) -> None:
        """Add up the time of group and tree while the group is ours, and keep the largest difference."""
        try:
            used_s = group.busy_s() if group.pids() <= self._tree.pids() | self._ancestors else None
        except (OSError, ValueError):
            used_s = None
        if used_s is None:
            # A group that holds others at the beginning is not ours.
            self._group = group if self._last or self._group_s else None
            self._last = None
            return
        if self._last is not None:
            self._group_s += used_s - self._last[0]
            self._tree_s += tree_s - self._last[1]
            self._beyond_s = max(self._beyond_s, self._group_s - self._tree_s)
        self._last = (used_s, tree_s)


def _ancestors(pid: int) -> frozenset[int]:
    try:
        return frozenset(parent.pid for parent in psutil.Process(pid).parents())
    # Without procfs, psutil raises errors of many kinds.
    except Exception:  # noqa: BLE001
        return frozenset()


def _stat_bytes() -> int:
    """Return a read size that includes the lines of all CPUs, which come first."""
    return _STAT_BYTES_PER_CPU * (1 + (os.cpu_count() or 1))
