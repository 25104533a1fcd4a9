"""Share of a host's CPUs and memory that our processes use."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

from trainwatt.clock import Clock
from trainwatt.errors import SourceError
from trainwatt.power.attribution import part_of_use
from trainwatt.power.host.cpu_time import BusyClock
from trainwatt.power.host.process_tree import ProcessTree, own_tree
from trainwatt.power.host.pseudo_file import read_text

# A look at our processes' ids, and one at their memory if that is cheap; an expensive one uses 0.5 % of a core.
_LOOK_EVERY_S = 1.0
_MEMORY_COST = 0.005
_SELDOM_S = 60.0
# Longest time by which our CPU time may be ahead of the machine's, which the kernel counts in ticks.
_AHEAD_S, _AHEAD_PART = 0.1, 0.05


class CpuShare:
    """Our processes' share of the machine's busy CPU time since the last call.

    Args:
        ours: CPU time of our processes.
        everyones: CPU time of all processes.
    """

    def __init__(self, ours: BusyClock, everyones: BusyClock) -> None:
        self._clocks = (ours, everyones)
        self._last_s = (0.0, 0.0)
        self._ahead_s = 0.0

    def __call__(self) -> float:
        """See `trainwatt.power.attribution.ShareSince`."""
        try:
            ours_s, everyones_s = (clock() for clock in self._clocks)
        # Without procfs, psutil raises errors of many kinds.
        except Exception as error:
            raise SourceError(f"CPU time: {error}") from error
        last_s, self._last_s = self._last_s, (ours_s, everyones_s)
        ours_s, everyones_s = ours_s - last_s[0] + self._ahead_s, everyones_s - last_s[1]
        self._ahead_s = min(max(0.0, ours_s - everyones_s), _AHEAD_S + _AHEAD_PART * everyones_s)
        return part_of_use(ours_s, everyones_s)


class OurProcesses:
    """Ids of this process and its descendants, updated every second.

    Args:
        clock: Source of the time.
        tree: The processes; None: this one and its descendants.
    """

    def __init__(self, clock: Clock, tree: ProcessTree | None = None) -> None:
        self._clock = clock
        self._tree = tree or own_tree(clock)
        self._looked_s: float | None = None
        self._pids: frozenset[int] = frozenset()

    def __call__(self) -> Collection[int]:
        """Return the ids, also of processes that have just ended, without other ranks that this process has started."""
        now_s = self._clock.monotonic()
        if self._looked_s is None or now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            try:
                self._pids = self._tree.recent_pids()
            except Exception as error:
                raise SourceError(f"processes: {error}") from error
        return self._pids


class MemoryShare:
    """Our processes' share of the memory in use, updated every second, or less often if that is expensive.

    A page that N processes share counts as 1/N of a page for each of them (PSS: Linux,
    Documentation/filesystems/proc.rst). The page cache belongs to nobody and does not count. The shares of all
    processes therefore add up to at most the memory in use.

    Args:
        used_bytes: Returns the memory in use by all processes: anonymous and shared.
        clock: Source of the time.
    """

    def __init__(self, used_bytes: Callable[[], float], clock: Clock) -> None:
        self._used_bytes, self._clock = used_bytes, clock
        self._processes = OurProcesses(clock)
        self._looked_s: float | None = None
        self._every_s = _LOOK_EVERY_S
        self._share = 0.0

    def __call__(self) -> float:
        """See `trainwatt.power.attribution.ShareSince`."""
        now_s = self._clock.monotonic()
        if self._looked_s is None or now_s - self._looked_s >= self._every_s:
            self._looked_s = now_s
            began_s = time.thread_time()
            try:
                ours = sum(proportional_bytes(pid) for pid in self._processes())
                self._share = part_of_use(ours, self._used_bytes())
            except Exception as error:
                raise SourceError(f"memory in use: {error}") from error
            cost_s = time.thread_time() - began_s
            self._every_s = min(max(_LOOK_EVERY_S, cost_s / _MEMORY_COST), _SELDOM_S)
        return self._share


def proportional_bytes(pid: int) -> float:
    """Return a process's own memory and its part of shared memory, without files; 0 if the process has ended.

    Args:
        pid: Id of the process.
    """
    try:
        lines = read_text(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    except OSError:
        try:
            return float(psutil.Process(pid).memory_info().rss)
        except Exception:  # noqa: BLE001
            return 0.0
    kib = {line.split(":")[0]: float(line.split()[1]) for line in lines[1:]}
    return 1024 * (kib["Pss_Anon"] + kib["Pss_Shmem"] if "Pss_Anon" in kib else kib.get("Pss", 0.0))
