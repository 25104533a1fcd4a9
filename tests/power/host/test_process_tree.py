"""CPU time of a process tree: of a simulated kernel at random, and of real processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwatt.power.host.cgroup import CpuGroup
from trainwatt.power.host.cpu_time import ProcessTreeTime
from trainwatt.power.host.process_tree import ProcessTree, PsutilTable, Stat, own_tree
from trainwatt.testing import VirtualClock

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the time of ended grandchildren")

INIT = 1
ROOT = 100


class Kernel:
    """`ProcessTable` of a simulated machine.

    Attributes:
        truth_s: CPU-seconds of all descendants of the root, ended or not.
    """

    def __init__(self) -> None:
        self._processes: dict[int, list[float]] = {}
        self._parents: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._ours: set[int] = set()
        self._count = 0
        self.truth_s = 0.0
        self.fork(0, INIT)
        self.fork(INIT, ROOT)
        self._ours.add(ROOT)

    @property
    def ours(self) -> list[int]:
        return sorted(self._ours & self._processes.keys())

    def candidates(self, roots: object) -> set[int]:
        return set(self._processes)

    def stat(self, pid: int) -> Stat | None:
        if pid not in self._processes:
            return None
        return Stat(self._parents[pid], self._starts[pid], *self._processes[pid])

    def fork(self, parent: int, pid: int) -> None:
        self._count += 1
        self._processes[pid], self._parents[pid], self._starts[pid] = [0.0, 0.0], parent, self._count
        if parent in self._ours:
            self._ours.add(pid)

    def use(self, pid: int, seconds: float) -> None:
        self._processes[pid][0] += seconds
        self.truth_s += seconds if pid in self._ours else 0.0

    def end(self, pid: int) -> None:
        """End a process: its parent waits for it, and init inherits its children."""
        own_s, waited_s = self._processes.pop(pid)
        self._processes[self._parents[pid]][1] += own_s + waited_s
        self._ours.discard(pid)
        for child, parent in self._parents.items():
            if parent == pid:
                self._parents[child] = INIT


actions = st.lists(st.tuples(st.sampled_from(["fork", "use", "end", "look"]), st.integers(0, 1000)), max_size=60)


@given(actions=actions)
@settings(max_examples=400)
def test_no_time_is_lost_or_counted_twice_whoever_ends_first(actions: list[tuple[str, int]]) -> None:
    """The tree is looked at before a process that has become an orphan ends; forks and ends are otherwise arbitrary."""
    kernel, clock = Kernel(), VirtualClock()
    tree = ProcessTree(ROOT, table=kernel, clock=clock)
    assert tree.used_s() == 0
    pid = 1000
    for action, choice in actions:
        ours = kernel.ours
        chosen = ours[choice % len(ours)]
        if action == "fork":
            pid += 1
            kernel.fork(chosen, pid)
        elif action == "use":
            kernel.use(chosen, 1.0 + choice / 100)
        elif action == "end" and chosen != ROOT:
            tree_s = look(tree, clock)
            assert tree_s == pytest.approx(kernel.truth_s, abs=0.025 * len(actions))
            kernel.end(chosen)
        else:
            look(tree, clock)
    assert look(tree, clock) == pytest.approx(kernel.truth_s, abs=0.025 * len(actions))


def look(tree: ProcessTree, clock: VirtualClock) -> float:
    clock.now_s += 1.0
    return tree.used_s()


def test_children_that_nobody_has_seen_count_once_they_have_been_waited_for() -> None:
    kernel, clock = Kernel(), VirtualClock()
    tree = ProcessTree(ROOT, table=kernel, clock=clock)
    tree.used_s()
    for pid in range(1000, 1020):
        kernel.fork(ROOT, pid)
        kernel.use(pid, 2.0)
        kernel.end(pid)
    assert look(tree, clock) == pytest.approx(40.0)


def test_the_same_id_of_another_process_is_another_process() -> None:
    kernel, clock = Kernel(), VirtualClock()
    tree = ProcessTree(ROOT, table=kernel, clock=clock)
    kernel.fork(ROOT, 1000)
    kernel.use(1000, 3.0)
    assert look(tree, clock) == pytest.approx(3.0)
    kernel.end(1000)
    kernel.fork(INIT, 1000)
    kernel.use(1000, 50.0)
    assert look(tree, clock) == pytest.approx(3.0)
    assert tree.pids() == {ROOT}


BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end:\n    pass\n"
# Starts, burns 0.4 s of CPU time and waits for its end.
WORKER = BURN.format(0.4) + "import sys\nprint('burnt', flush=True)\nsys.stdin.read()\n"
DAEMON = f"""
import os, sys, time
if os.fork():
    sys.stdin.read()
    os._exit(0)
os.setsid()
if os.fork():
    time.sleep(0.5)
    os._exit(0)
os.close(1)
{BURN.format(1.2)}
"""


@contextmanager
def started(code: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        yield process
        process.communicate()


def busy_s(seconds: float) -> float:
    began_s = time.process_time()
    while time.process_time() - began_s < seconds:
        pass
    return seconds


@linux
def test_short_lived_children_and_grandchildren_count() -> None:
    tree = own_tree(VirtualClock())
    before_s = tree.used_s()
    python = f"{sys.executable} -S -E -c '{BURN.format(0.2)}'"
    # The shell is a child, its commands are grandchildren: none of them exists at a look.
    subprocess.run(["sh", "-c", ";".join([python] * 5)], check=True)
    assert tree.used_s() - before_s == pytest.approx(1.0, abs=0.25)


@linux
def test_workers_that_live_on_count_while_they_do() -> None:
    """As those of a loky pool, or of a DataLoader with persistent workers."""
    clock = VirtualClock()
    tree = own_tree(clock)
    before_s = tree.used_s()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        # The start of the interpreters costs CPU time as well.
        list(pool.map(busy_s, [0.0, 0.0, 0.0, 0.0]))
        clock.now_s += 1.0
        began_s = tree.used_s()
        work_s = sum(pool.map(busy_s, [0.3, 0.3, 0.3, 0.3]))
        clock.now_s += 1.0
        assert tree.used_s() - began_s == pytest.approx(work_s, rel=0.05, abs=0.05)
        alive_s = tree.used_s()
    clock.now_s += 1.0
    # Their ends cost a little, but nothing counts again.
    assert 0 <= tree.used_s() - alive_s < 0.8
    assert tree.used_s() - before_s > work_s


@linux
def test_a_worker_that_has_just_been_started_counts_at_the_last_look() -> None:
    clock = VirtualClock()
    tree = own_tree(clock)
    before_s = tree.used_s()
    with started(WORKER) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        clock.now_s += 0.5
        assert tree.used_s() - before_s == pytest.approx(0.4, abs=0.1)


@linux
def test_a_daemon_counts_once_it_has_been_seen() -> None:
    """Its parents end before it, and init waits for it."""
    tree = ProcessTree()
    before_s, pids = tree.used_s(), tree.pids()
    with started(DAEMON) as child:
        for _ in range(4):
            time.sleep(0.1)
            tree.used_s()
        child.communicate()
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s and tree.pids() > pids:
        time.sleep(0.05)
    assert tree.pids() == pids
    assert tree.used_s() - before_s == pytest.approx(1.2, abs=0.25)


@linux
def test_a_child_whose_parent_ignores_its_end_is_not_lost() -> None:
    clock = VirtualClock()
    code = f"""
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-E", "-c", {WORKER!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.stdout.readline().decode(), flush=True)
input()
child.stdin.close()
child.stdout.read()
print("ended", flush=True)
input()
"""
    tree = own_tree(clock)
    with started(code) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        parent.stdout.readline()
        clock.now_s += 1.0
        seen_s = tree.used_s()
        parent.stdin.write("\n")
        parent.stdin.flush()
        while parent.stdout.readline() != "ended\n":
            pass
        for _ in range(20):
            clock.now_s += 1.0
            assert tree.used_s() >= seen_s
            time.sleep(0.01)
        # A sum that only does not fall would hide what follows.
        before_s = tree.used_s()
        busy_s(0.3)
        clock.now_s += 1.0
        assert tree.used_s() - before_s == pytest.approx(0.3, abs=0.1)


@linux
def test_the_ranks_of_a_launcher_count_and_those_that_we_have_started_measure_themselves() -> None:
    clock = VirtualClock()
    tree = own_tree(clock)
    before_s = tree.used_s()
    launcher = f"import os, subprocess, sys\nsubprocess.run([sys.executable, '-S', '-E', '-c', {WORKER!r}], \
env=os.environ | {{'LOCAL_RANK': '3'}})"
    with started(launcher) as process:
        assert process.stdout is not None
        process.stdout.readline()
        clock.now_s += 1.0
        assert tree.used_s() - before_s == pytest.approx(0.4, abs=0.15)
        process.communicate()
    before_s = look(tree, clock)
    with started(WORKER, LOCAL_RANK="3") as rank:
        assert rank.stdout is not None
        rank.stdout.readline()
        clock.now_s += 1.0
        assert tree.used_s() - before_s < 0.1
        rank.communicate()
        clock.now_s += 1.0
        # We have waited for it, so that the kernel has added its time to ours.
        assert tree.used_s() - before_s < 0.1


def test_systems_without_procfs_know_living_children_and_those_of_this_process() -> None:
    clock = VirtualClock()
    tree = ProcessTree(table=PsutilTable(), clock=clock)
    before_s = tree.used_s()
    with started(WORKER) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert look(tree, clock) - before_s == pytest.approx(0.4, abs=0.15)
        assert worker.pid in tree.pids()
        worker.communicate()
        assert look(tree, clock) - before_s == pytest.approx(0.4, abs=0.15)
        assert worker.pid not in tree.pids()
        assert worker.pid in tree.recent_pids()


def test_a_forked_child_has_a_tree_of_its_own() -> None:
    clock = VirtualClock()
    assert own_tree(clock) is own_tree(clock)
    assert own_tree(clock).root == os.getpid()


class Group:
    """Control group of our own, with processes that come and go."""

    def __init__(self, *pids: int) -> None:
        self.members = {os.getpid(), *pids}
        self.used_s = 0.0

    def as_cgroup(self) -> CpuGroup:
        return CpuGroup(lambda: self.used_s, lambda: frozenset(self.members))


def test_a_group_of_our_own_knows_of_daemons_that_nobody_has_seen() -> None:
    group = Group(os.getppid())
    ours = ProcessTreeTime(group=group.as_cgroup(), clock=VirtualClock())
    before_s = ours()
    group.used_s += 40.0
    assert ours() - before_s == pytest.approx(40.0, abs=0.2)


def test_the_time_of_others_in_a_group_is_not_ours() -> None:
    group = Group()
    ours = ProcessTreeTime(group=group.as_cgroup(), clock=VirtualClock())
    before_s = ours()
    group.members.add(INIT + 4_000_000)
    group.used_s += 40.0
    assert ours() - before_s < 0.2
    group.members.remove(INIT + 4_000_000)
    assert ours() - before_s < 0.2
    group.used_s += 5.0
    assert ours() - before_s == pytest.approx(5.0, abs=0.2)


def test_a_group_of_others_is_not_read_again() -> None:
    group = Group(4_000_001)
    ours = ProcessTreeTime(group=group.as_cgroup(), clock=VirtualClock())
    before_s = ours()
    group.members.remove(4_000_001)
    group.used_s += 40.0
    ours()
    group.used_s += 40.0
    assert ours() - before_s < 0.2


@linux
def test_a_look_costs_little() -> None:
    tree = ProcessTree()
    tree.used_s()
    costs_s = []
    for _ in range(20):
        time.sleep(0.01)
        began_s = time.thread_time()
        tree.used_s()
        costs_s.append(time.thread_time() - began_s)
    # At one look per second, 0.2 % of a core.
    assert min(costs_s) < 0.002


def test_simulated_processes_do_not_exist(tmp_path: Path) -> None:
    """The tree of a process that does not exist is an error, not zero."""
    import psutil  # noqa: PLC0415

    with pytest.raises(psutil.Error):
        ProcessTree(ROOT, table=_Empty(), clock=VirtualClock()).used_s()


class _Empty:
    def candidates(self, roots: object) -> set[int]:
        return set()

    def stat(self, pid: int) -> Stat | None:
        return None
