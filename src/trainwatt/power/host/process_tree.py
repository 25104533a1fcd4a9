"""A process and its descendants: their ids, and the CPU time that all of them have used so far.

Linux keeps the time of each process, and in each parent the time of the children that it has waited for. A child's time
therefore stays in the sum over the tree when it ends, also if nobody has seen the child. It is lost from the sum only
if nobody of the tree waits for it: its parent ended first (a daemon), or ignores ``SIGCHLD``. The time of a process
that has been seen is then kept here.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.power.host.pseudo_file import is_file

_RANK = "LOCAL_RANK"
# New processes are searched for at each look, but no more often than this.
_SEARCH_EVERY_S = 0.1
# Processes of others are not looked at again, until their ids may have been used anew.
_FORGET_EVERY_S = 30.0
# If a process ends during a look, its parents are read again.
_PASSES = 4
# Utilisation of a GPU is reported after the process has ended.
_RECENT_S = 10.0
# The kernel rounds user and system time of a process down to ticks of 10 ms.
_ROUNDING_S = 0.02
_STAT_BYTES = 1024


class Stat(NamedTuple):
    """Facts on a process at one moment.

    Attributes:
        parent: Id of its parent.
        started: Time of its start in any unit; id and start identify a process.
        own_s: CPU-seconds of its threads.
        waited_s: CPU-seconds of its children that have ended and that it has waited for, and of theirs.
    """

    parent: int
    started: float
    own_s: float
    waited_s: float


class ProcessTable(Protocol):
    """Source of facts on processes."""

    def candidates(self, roots: Collection[int]) -> set[int]:
        """Return the ids of all descendants of some processes, and possibly of other processes."""
        ...

    def stat(self, pid: int) -> Stat | None:
        """Return the facts on a process; None if it does not exist or may not be read."""
        ...


class Procfs:
    """`ProcessTable` of Linux.

    Args:
        root: Mount point of procfs.
    """

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = str(root)
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")

    def candidates(self, roots: Collection[int]) -> set[int]:  # noqa: ARG002
        """See :class:`ProcessTable`."""
        # A path object for each of hundreds of names would cost more than the names.
        return {int(name) for name in os.listdir(self._root) if name.isdigit()}  # noqa: PTH208

    def stat(self, pid: int) -> Stat | None:
        """See :class:`ProcessTable`. Source of the fields: proc_pid_stat(5)."""
        try:
            descriptor = os.open(f"{self._root}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fields = os.read(descriptor, _STAT_BYTES).rpartition(b")")[2].split()
            finally:
                os.close(descriptor)
            user, system, waited_user, waited_system = (int(field) for field in fields[11:15])
            parent, started = int(fields[1]), int(fields[19])
        except (OSError, ValueError, IndexError):
            return None
        return Stat(parent, started, (user + system) * self._tick_s, (waited_user + waited_system) * self._tick_s)


class PsutilTable:
    """`ProcessTable` of other systems, which know the time of ended children for this process at most."""

    def candidates(self, roots: Collection[int]) -> set[int]:
        """See :class:`ProcessTable`."""
        found: set[int] = set()
        for root in roots:
            with contextlib.suppress(OSError, psutil.Error):
                found.update((root, *(child.pid for child in psutil.Process(root).children(recursive=True))))
        return found

    def stat(self, pid: int) -> Stat | None:
        """See :class:`ProcessTable`."""
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            parent, started = process.ppid(), process.create_time()
        except (OSError, psutil.Error):
            return None
        own = os.times()
        waited_s = own.children_user + own.children_system if pid == os.getpid() else 0.0
        return Stat(parent, started, float(times.user + times.system), waited_s)


@dataclass(slots=True)
class _Member:
    """Process of the tree.

    Attributes:
        pid: Its id.
        stat: Its last facts.
        booked_s: Part of ``stat.waited_s`` that is the time of members already found to have ended.
        counted: False for another rank of a distributed training, and for its descendants.
    """

    pid: int
    stat: Stat
    booked_s: float
    counted: bool

    @property
    def used_s(self) -> float:
        return self.stat.own_s + self.stat.waited_s


class ProcessTree:
    """A process and its descendants, also those whose parents have ended, once they have been seen.

    Processes that the root has started as other ranks of a distributed training (another ``LOCAL_RANK``) do not count,
    as they measure themselves. Ranks that a launcher below the root has started do count.

    Args:
        root: Id of the first process; None: this one.
        table: Source of facts on processes; None: that of this system.
        clock: Source of the time.
        all_ranks: True to count all ranks, whoever has started them.
    """

    def __init__(
        self,
        root: int | None = None,
        *,
        table: ProcessTable | None = None,
        clock: Clock = SYSTEM_CLOCK,
        all_ranks: bool = False,
    ) -> None:
        self.root = root or os.getpid()
        self._table: ProcessTable = table or _system_table()
        self._clock = clock
        self._all_ranks = all_ranks
        self._lock = threading.Lock()
        # Parents before their children.
        self._members: dict[int, _Member] = {}
        self._others: set[int] = set()
        # Members that have ended, until their parents have been read afterwards.
        self._ended: dict[int, _Member] = {}
        # When they ended, to know their ids for a while.
        self._ended_s: dict[int, float] = {}
        self._kept_s = self._highest_s = 0.0
        self._searched_s = self._forgot_s = -float("inf")

    def used_s(self) -> float:
        """Return the CPU-seconds that all counted processes have used so far; never less than before.

        Raises:
            psutil.Error: The system does not report them.
        """
        with self._lock:
            self._look()
            members = (*self._members.values(), *self._ended.values())
            used_s = self._kept_s + sum(member.used_s for member in members if member.counted)
            self._highest_s = max(self._highest_s, used_s)
            return self._highest_s

    def pids(self) -> frozenset[int]:
        """Return the ids of the counted processes that exist now."""
        with self._lock:
            self._look()
            return frozenset(pid for pid, member in self._members.items() if member.counted)

    def recent_pids(self) -> frozenset[int]:
        """Return the ids of the counted processes that exist now or did so until 10 s ago."""
        present = self.pids()
        with self._lock:
            return present | self._ended_s.keys()

    def _look(self) -> None:
        """Read all members, parents first: a child that exists later is not yet in its parent's time of children."""
        now_s = self._clock.monotonic()
        for _ in range(_PASSES):
            ended = self._read()
            self._book()
            self._ended |= ended
            if not ended:
                break
        if not self._ended:
            for member in self._members.values():
                member.booked_s = member.stat.waited_s
        if now_s - self._searched_s >= _SEARCH_EVERY_S:
            self._searched_s = now_s
            self._search(now_s)
        if not self._members and not self._ended:
            raise psutil.NoSuchProcess(self.root)

    def _read(self) -> dict[int, _Member]:
        """Update the members, and return those that have ended."""
        ended: dict[int, _Member] = {}
        for pid, member in list(self._members.items()):
            stat = self._table.stat(pid)
            if stat is None or stat.started != member.stat.started:
                ended[pid] = self._members.pop(pid)
                if member.counted:
                    self._ended_s[pid] = self._clock.monotonic()
            else:
                member.stat = stat
        return ended

    def _book(self) -> None:
        """Book the time of members that have ended: it is in the time of an ancestor's children, or kept here.

        Their ancestors have been read since. If an ancestor's time of children has not grown by as much as they had
        used, nobody has waited for the rest of them.
        """
        heirs: dict[int, list[_Member]] = {}
        for member in self._ended.values():
            heir = self._heir(member)
            if heir in self._members:
                heirs.setdefault(heir, []).append(member)
            elif member.counted:
                self._kept_s += member.used_s
        for pid, children in heirs.items():
            self._inherit(self._members[pid], children)
        self._ended.clear()

    def _heir(self, member: _Member) -> int:
        """Return the id of the nearest ancestor that has not ended."""
        pid = member.stat.parent
        while pid in self._ended:
            pid = self._ended[pid].stat.parent
        return pid

    def _inherit(self, heir: _Member, children: list[_Member]) -> None:
        new_s = max(0.0, heir.stat.waited_s - heir.booked_s)
        counted_s = sum(child.used_s for child in children if child.counted == heir.counted)
        other_s = sum(child.used_s for child in children if child.counted != heir.counted)
        others_in_new_s = min(other_s, new_s)
        heir.booked_s += min(new_s, counted_s + other_s)
        if heir.counted:
            lost_s = counted_s - (new_s - others_in_new_s)
            self._kept_s += max(0.0, lost_s - _ROUNDING_S * len(children)) - others_in_new_s

    def _search(self, now_s: float) -> None:
        """Add the descendants of members that have been started since the last search."""
        self._ended_s = {pid: end_s for pid, end_s in self._ended_s.items() if now_s - end_s < _RECENT_S}
        if now_s - self._forgot_s >= _FORGET_EVERY_S:
            self._forgot_s = now_s
            self._others.clear()
        pids = self._table.candidates((self.root, *self._orphans()))
        self._others &= pids
        found = {pid: stat for pid in pids - self._others - self._members.keys() if (stat := self._table.stat(pid))}
        if self.root in found and not self._members:
            self._add(self.root, found.pop(self.root), counted=True)
        while descendants := [pid for pid, stat in found.items() if stat.parent in self._members]:
            for pid in descendants:
                stat = found.pop(pid)
                self._add(pid, stat, counted=self._members[stat.parent].counted and self._is_our_rank(pid, stat))
        self._others.update(found)

    def _orphans(self) -> Iterator[int]:
        return (pid for pid, member in self._members.items() if member.stat.parent not in self._members)

    def _add(self, pid: int, stat: Stat, *, counted: bool) -> None:
        self._members[pid] = _Member(pid, stat, stat.waited_s, counted)

    def _is_our_rank(self, pid: int, stat: Stat) -> bool:
        """Return False for another rank that the root has started."""
        if self._all_ranks or stat.parent != self.root:
            return True
        own = os.environ.get(_RANK, "0")
        return environment(pid).get(_RANK, own) == own


def environment(pid: int) -> dict[str, str]:
    """Return the environment with which a process was started; empty if it may not be read.

    Args:
        pid: Id of the process.
    """
    try:
        return psutil.Process(pid).environ()
    except (OSError, psutil.Error):
        return {}


def _system_table() -> ProcessTable:
    return Procfs() if is_file(Path("/proc/self/stat")) else PsutilTable()


_own: tuple[Clock, ProcessTree] | None = None


def own_tree(clock: Clock = SYSTEM_CLOCK) -> ProcessTree:
    """Return the tree of this process, which all meters share.

    Args:
        clock: Source of the time.
    """
    global _own  # noqa: PLW0603
    known = _own
    # A forked child has a tree of its own.
    if known is None or known[0] is not clock or known[1].root != os.getpid():
        known = _own = (clock, ProcessTree(clock=clock))
    return known[1]
