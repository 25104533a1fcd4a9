"""CPU time of the machine, of some of its CPUs or of our processes, in CPU-seconds since an arbitrary origin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.power.host.pseudo_file import KeptFile

_STAT_BYTES_PER_CPU = 256
# user, nice, system, irq, softirq. The time of guests is included in user; steal is the time of other guests.
_BUSY_FIELDS = (1, 2, 3, 6, 7)
_CHILDREN_EVERY_S = 10.0

BusyClock = Callable[[], float]
"""Function that returns the CPU-seconds used so far; raises OSError, ValueError or psutil.Error."""


def own_cpus(*, proc_root: Path = Path("/proc")) -> frozenset[int] | None:
    """Return the logical CPUs on which any thread of this process may run; None if the system does not report them.

    All threads are considered, since OpenMP may have pinned each of them to a different CPU.

    Args:
        proc_root: Mount point of procfs.
    """
    cpus: set[int] = set()
    for status in (proc_root / "self/task").glob("*/status"):
        try:
            lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
        # The thread has ended.
        except OSError:
            continue
        cpus.update(*(parse_cpu_list(line.split()[1]) for line in lines if line.startswith("Cpus_allowed_list:")))
    return frozenset(cpus) or None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Parse the kernel's notation of CPU numbers, e.g. ``0-3,8``."""
    spans = [span.partition("-") for span in text.split(",") if span]
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
        self._stat = KeptFile(stat, size=_stat_bytes()) if stat.exists() else None

    def __call__(self) -> float:
        """Return the CPU-seconds so far.

        Raises:
            OSError, ValueError: The system does not report CPU time.
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
    """CPU time of this process and its children, including children that have ended.

    The time of a child that ends is added to its parent, so the sum over the process tree does not decrease. If it
    does for a moment, between the two, the highest sum so far is kept. The tree is walked only every 10 s, as that
    takes about 1 ms. A child that starts and ends between two walks is counted when it ends. Children with another
    ``LOCAL_RANK`` are excluded: they are ranks of a distributed training, started by this one, and count themselves.

    Args:
        clock: Source of the time.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._self = psutil.Process()
        self._children: list[psutil.Process] = []
        self._walked_s: float | None = None
        self._highest_s = 0.0

    @staticmethod
    def children() -> list[int]:
        """Return the ids of the children of this process that are counted."""
        return [child.pid for child in _children(psutil.Process())]

    def __call__(self) -> float:
        """Return the CPU-seconds so far.

        Raises:
            psutil.Error: The system does not report them.
        """
        now_s = self._clock.monotonic()
        if self._walked_s is None or now_s - self._walked_s >= _CHILDREN_EVERY_S:
            self._children = _children(self._self)
            self._walked_s = now_s
        children_s = sum(_process_s(child) for child in self._children)
        own = os.times()
        own_s = own.user + own.system + own.children_user + own.children_system
        self._highest_s = max(self._highest_s, own_s + children_s)
        return self._highest_s


def _children(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if _is_our_rank(child)]


def _stat_bytes() -> int:
    """Return a read size that includes the lines of all CPUs, which come first."""
    return _STAT_BYTES_PER_CPU * (1 + (psutil.cpu_count() or 1))


def _is_our_rank(process: psutil.Process) -> bool:
    try:
        rank = process.environ().get("LOCAL_RANK", "0")
    except (OSError, psutil.Error):
        return True
    return rank == os.environ.get("LOCAL_RANK", "0")


def _process_s(process: psutil.Process) -> float:
    """Return the CPU time of a process and of its children that have ended; 0 if the process has ended itself."""
    try:
        if not process.is_running():
            return 0.0
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(
        times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    )
