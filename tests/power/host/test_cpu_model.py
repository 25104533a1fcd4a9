import contextlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.linux_host import GENOA_VM, ROME_SERVER, LinuxHost
from trainwatt.errors import ArgumentError, SourceError
from trainwatt.power.device import Counter, Device
from trainwatt.power.host import cpu_catalog, cpu_model, cpu_time
from trainwatt.power.host.cpu_model import CpuEstimate
from trainwatt.testing import VirtualClock

DEVICE = Device("cpu:b", "cpu", "a processor", "estimated", "model")
MILAN_VM = {**GENOA_VM, "model": "1", "model name": "AMD EPYC-Milan Processor"}


class Load:
    """CPU time that goes as told."""

    def __init__(self) -> None:
        self.busy_s = 100.0

    def __call__(self) -> float:
        return self.busy_s


def estimate_on(host: LinuxHost, clock: VirtualClock, **options) -> CpuEstimate:
    found = cpu_model.find(proc_root=host.proc_root, sys_root=host.sys_root, clock=clock, **options)
    (meter,) = found.meters
    assert isinstance(meter, CpuEstimate)
    return meter


steps = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1), st.booleans()), min_size=1, max_size=20)


@given(steps=steps, idle_w=st.floats(0, 50), dynamic_w=st.floats(0, 300), cpus=st.floats(0.5, 128))
def test_the_estimate_adds_up_however_seldom_it_is_read(steps, idle_w, dynamic_w, cpus) -> None:
    clock, load = VirtualClock(0.0), Load()
    estimate = CpuEstimate(DEVICE, idle_w=idle_w, full_w=idle_w + dynamic_w, cpus=cpus, busy_s=load, clock=clock)
    truth_j = 0.0
    for interval_s, utilisation, read in steps:
        clock.now_s += interval_s
        load.busy_s += utilisation * cpus * interval_s
        truth_j += (idle_w + dynamic_w * utilisation) * interval_s
        if read:
            estimate.joules()
    assert estimate.joules() == pytest.approx(truth_j, rel=1e-6, abs=1e-6)


@given(steps=st.lists(st.tuples(st.floats(0, 10), st.floats(-5, 50)), max_size=20))
def test_power_stays_between_idle_and_full_load_even_when_ticks_run_ahead_or_back(steps) -> None:
    clock, load = VirtualClock(0.0), Load()
    estimate = CpuEstimate(DEVICE, idle_w=10, full_w=100, cpus=4, busy_s=load, clock=clock)
    before_j, elapsed_s = estimate.joules(), 0.0
    for interval_s, busy_s in steps:
        clock.now_s += interval_s
        elapsed_s += interval_s
        load.busy_s += busy_s
        # What four CPUs cannot have used is refused until the next reading decides.
        with contextlib.suppress(SourceError):
            spent_j = estimate.joules() - before_j
            assert 10 * elapsed_s - 1e-6 <= spent_j <= 100 * elapsed_s + 1e-6
            before_j, elapsed_s = before_j + spent_j, 0.0


def test_ticks_that_ran_ahead_of_the_clock_are_counted_later() -> None:
    clock, load = VirtualClock(0.0), Load()
    estimate = CpuEstimate(DEVICE, idle_w=0, full_w=10, cpus=1, busy_s=load, clock=clock)
    load.busy_s += 1.05
    clock.now_s += 1.0
    assert estimate.joules() == pytest.approx(10.0)
    clock.now_s += 1.0
    assert estimate.joules() == pytest.approx(10.5)


@pytest.mark.parametrize("cpus", [1, 4, 64])
@pytest.mark.parametrize("off_s", [600.0, -600.0, 2.0**64])
def test_a_count_that_the_cpus_cannot_have_reached_is_refused_and_then_the_new_origin(cpus: int, off_s: float) -> None:
    """Half of the CPUs are busy, 60 W, before and after the count jumps."""
    clock, load = VirtualClock(0.0), Load()
    load.busy_s = 1e4 * cpus
    estimate = CpuEstimate(DEVICE, idle_w=10, full_w=110, cpus=cpus, busy_s=load, clock=clock)
    for second in range(60):
        load.busy_s += 0.5 * cpus
        clock.now_s += 1.0
        if second == 30:
            # A float of 2^64 has no room for half seconds.
            load.busy_s = 0.0 if off_s > 1e9 else load.busy_s + off_s * cpus
            with pytest.raises(SourceError, match="CPU time: went from"):
                estimate.joules()
        else:
            estimate.joules()
    assert estimate.joules() == pytest.approx(60 * 60)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 2.0**32 - 1, 2.0**64])
def test_a_count_that_is_misread_once_loses_nothing(value: float) -> None:
    clock, load = VirtualClock(0.0), Load()
    load.busy_s = 1e4
    estimate = CpuEstimate(DEVICE, idle_w=10, full_w=110, cpus=4, busy_s=load, clock=clock)
    for second in range(60):
        clock.now_s += 1.0
        true_s = 1e4 + 2.0 * (second + 1)
        load.busy_s = value if second == 30 else true_s
        if second == 30:
            with pytest.raises(SourceError):
                estimate.joules()
        else:
            estimate.joules()
    assert estimate.joules() == pytest.approx(60 * 60)


def test_more_cpus_than_granted_count_while_they_are_busy() -> None:
    """8 of 64 CPUs are granted, but nothing enforces it: all 64 are used for a minute."""
    clock, load = VirtualClock(0.0), Load()
    estimate = CpuEstimate(DEVICE, idle_w=8, full_w=88, cpus=8, busy_s=load, most_cpus=64, clock=clock)
    for _ in range(60):
        load.busy_s += 64.0
        clock.now_s += 1.0
        estimate.joules()
    assert estimate.joules() == pytest.approx(60 * (8 + 64 * 10))
    clock.now_s += 600.0
    assert estimate.joules() == pytest.approx(60 * (8 + 64 * 10) + 600 * 8)


def test_a_whole_server_is_charged_by_the_design_power_of_all_its_chips(tmp_path: Path) -> None:
    clock = VirtualClock()
    host = LinuxHost(tmp_path, cpus=4, sockets=2)
    estimate = estimate_on(host, clock)
    assert (estimate.idle_w, estimate.full_w) == pytest.approx((0.10 * 450, 0.75 * 450))
    assert estimate.device.id == "cpu:0a1b2c3d-0000-4000-8000-000000000001"
    assert "450 W" in estimate.device.note
    for number in range(4):
        host.work(5.0, cpu=number)
    clock.now_s += 10.0
    assert estimate.joules() == pytest.approx(10 * 450 * (0.10 + 0.75) / 2)


def test_a_virtual_machine_is_charged_for_its_own_cpus_only(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=2, facts=GENOA_VM, virtual=True)
    estimate = estimate_on(host, VirtualClock())
    assert (estimate.idle_w, estimate.full_w) == pytest.approx((2 * 0.7391, 2 * 2.2822))


def test_a_virtual_machine_that_tells_its_chips_name_is_not_charged_for_the_whole_chip(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=2, facts=ROME_SERVER, virtual=True)
    assert estimate_on(host, VirtualClock()).full_w == pytest.approx(2 * 1.6930)


def test_a_job_with_some_of_the_cpus_is_charged_for_those_and_their_load(tmp_path: Path) -> None:
    clock = VirtualClock()
    host = LinuxHost(tmp_path, cpus=8)
    host.allow("2-3")
    estimate = estimate_on(host, clock)
    assert estimate.full_w == pytest.approx(0.75 * 225 * 2 / 8)
    assert estimate.device.id.endswith("/cpus-2-3")
    assert "2 of 8" in estimate.device.note
    host.work(10.0, cpu=0)
    host.work(10.0, cpu=2)
    clock.now_s += 10.0
    assert estimate.joules() == pytest.approx(10 * (estimate.idle_w + estimate.full_w) / 2)


def test_threads_pinned_one_to_a_cpu_count_together(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=4)
    host.allow("0")
    for thread in (1, 2, 3):
        host.write(f"self/task/{thread + 1}/status", f"Cpus_allowed_list:\t{thread}\n")
    assert cpu_time.own_cpus(proc_root=host.proc_root) == {0, 1, 2, 3}
    assert estimate_on(host, VirtualClock()).full_w == pytest.approx(0.75 * 225)


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_with_a_quota_is_charged_for_it_and_for_its_own_load(tmp_path: Path, version: int) -> None:
    clock = VirtualClock()
    host = LinuxHost(tmp_path, cpus=8)
    if version == 2:
        host.write("self/cgroup", "0::/pod/main\n")
        host.write_cgroup("pod/cpu.max", "150000 100000\n")
        host.write_cgroup("pod/main/cpu.max", "max 100000\n")
        host.write_cgroup("pod/cpu.stat", "usage_usec 7000000\nuser_usec 1\n")
    else:
        host.write("self/cgroup", "4:cpu,cpuacct:/docker/abc\n0::/\n")
        host.write_cgroup("cpu/cpu.cfs_quota_us", "150000\n")  # in a container its own group shows as the root
        host.write_cgroup("cpu/cpu.cfs_period_us", "100000\n")
        host.write_cgroup("cpuacct/cpuacct.usage", "7000000000\n")
    estimate = estimate_on(host, clock)
    assert estimate.full_w == pytest.approx(0.75 * 225 * 1.5 / 8)
    assert "/cgroup-" in estimate.device.id
    host.work(80.0)
    if version == 2:
        host.write_cgroup("pod/cpu.stat", "usage_usec 13000000\nuser_usec 1\n")
    else:
        host.write_cgroup("cpuacct/cpuacct.usage", "13000000000\n")
    clock.now_s += 8.0
    assert estimate.joules() == pytest.approx(8 * (estimate.idle_w + estimate.full_w) / 2)


DESKTOP = {
    "vendor_id": "GenuineIntel",
    "cpu family": "6",
    "model": "167",
    "model name": "11th Gen Intel(R) Core(TM) i7-11700K @ 3.60GHz",
    "stepping": "1",
}


@pytest.mark.parametrize("sockets", [1, 2, 8])
def test_a_virtual_machine_on_a_desktop_chip_gets_its_threads_of_the_chip(tmp_path: Path, sockets: int) -> None:
    """8 of the 16 threads of a chip of 125 W, however many sockets the virtual machine shows."""
    estimate = estimate_on(LinuxHost(tmp_path, cpus=8, sockets=sockets, facts=DESKTOP, virtual=True), VirtualClock())
    assert estimate.full_w == pytest.approx(0.75 * 125 * 8 / 16)
    assert estimate.idle_w == pytest.approx(0.10 * 125 * 8 / 16)
    assert "8 of 16 logical CPUs" in estimate.device.note


@pytest.mark.parametrize(
    ("name", "cpus", "chips"),
    [
        ("AMD Ryzen 9 7950X 16-Core Processor", 4, 4 / 32),
        ("AMD Ryzen Threadripper PRO 3995WX 64-Cores", 16, 16 / 128),
        ("AMD FX(tm)-8350 Eight-Core Processor", 2, None),
        ("Intel(R) Core(TM) i9-13900K", 8, 8 / 32),
        ("Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz", 8, 1.0),
    ],
)
def test_each_cpu_of_a_virtual_machine_is_a_part_of_a_chip(
    tmp_path: Path, name: str, cpus: int, chips: float | None
) -> None:
    tdp_w = cpu_catalog.tdp_w(name)
    assert tdp_w is not None
    facts = {"vendor_id": "Other", "model name": name}
    estimate = estimate_on(LinuxHost(tmp_path, cpus=cpus, sockets=cpus, facts=facts, virtual=True), VirtualClock())
    # Without a number of threads, a chip has one per 6 W.
    assert estimate.full_w == pytest.approx(0.75 * (tdp_w * chips if chips else 6.0 * cpus))
    if chips is None:
        assert estimate.device.low < 0.3
        assert estimate.device.high > 2


def test_sockets_with_one_cpu_each_are_parts_of_chips_also_if_the_hypervisor_hides(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=8, sockets=8, facts=DESKTOP)
    assert estimate_on(host, VirtualClock()).full_w == pytest.approx(0.75 * 125 / 2)


def test_a_container_that_shows_its_own_cpus_only_gets_those(tmp_path: Path) -> None:
    """LXC shows 4 of 16 CPUs in /proc/cpuinfo, with the siblings of the whole chip."""
    host = LinuxHost(tmp_path, cpus=4, facts=DESKTOP | {"siblings": "16"})
    assert estimate_on(host, VirtualClock()).full_w == pytest.approx(0.75 * 125 / 4)


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_whole_machine_gets_whole_chips(tmp_path: Path, sockets: int) -> None:
    host = LinuxHost(tmp_path, cpus=16 * sockets, sockets=sockets, facts=DESKTOP | {"siblings": "16"})
    assert estimate_on(host, VirtualClock()).full_w == pytest.approx(0.75 * 125 * sockets)


@pytest.mark.parametrize(
    ("path", "mountinfo", "folder"),
    [
        # In a namespace of its own: our group shows as the root, and we are in a group beside it or below it.
        ("0::/../app", "", ""),
        ("0::/../../../pod/main", "", "pod/"),
        ("0::/../../../pod/main", "", "pod/main/"),
        # The mounted group is above the namespace.
        ("0::/main", "31 23 0:28 /.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n", ""),
        ("0::/../pod/main", "31 23 0:28 /.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "pod/"),
        # Without a namespace of its own: paths are those of the host, and our group is mounted.
        ("0::/kubepods/pod1/main", "31 23 0:28 /kubepods/pod1/main /sys/fs/cgroup ro - cgroup2 cgroup rw\n", ""),
        ("0::/kubepods/pod1/main", "31 23 0:28 /kubepods/pod1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "main/"),
        # Version 2 beside version 1.
        ("4:memory:/\n0::/pod", "", "unified/pod/"),
    ],
)
def test_the_limit_of_a_container_is_found_wherever_its_group_is_mounted(
    tmp_path: Path, path: str, mountinfo: str, folder: str
) -> None:
    host = LinuxHost(tmp_path, cpus=8)
    host.write("self/cgroup", f"{path}\n")
    host.write("self/mountinfo", mountinfo)
    host.write_cgroup(f"{folder}cpu.max", "200000 100000\n")
    host.write_cgroup(f"{folder}cpu.stat", "usage_usec 7000000\n")
    clock = VirtualClock()
    estimate = estimate_on(host, clock)
    assert estimate.full_w == pytest.approx(0.75 * 225 * 2 / 8)
    host.write_cgroup(f"{folder}cpu.stat", "usage_usec 17000000\n")
    clock.now_s += 10.0
    assert estimate.joules() == pytest.approx(10 * (estimate.idle_w + estimate.full_w) / 2)


def test_a_group_of_version_1_is_found_by_its_mount(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=8)
    host.write("self/cgroup", "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    options = "cgroup cgroup rw,cpu,cpuacct"
    host.write("self/mountinfo", f"9 8 0:1 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - {options}\n")
    host.write_cgroup("cpu,cpuacct/cpu.cfs_quota_us", "400000\n")
    host.write_cgroup("cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    host.write_cgroup("cpu,cpuacct/cpuacct.usage", "0\n")
    clock = VirtualClock()
    estimate = estimate_on(host, clock)
    assert estimate.full_w == pytest.approx(0.75 * 225 * 4 / 8)
    host.write_cgroup("cpu,cpuacct/cpuacct.usage", "40000000000\n")
    clock.now_s += 10.0
    assert estimate.joules() == pytest.approx(10 * estimate.full_w)


def test_the_load_of_a_group_beside_ours_is_not_ours(tmp_path: Path) -> None:
    """A process that was put into a container from outside sees the container's group, but is not in it."""
    clock = VirtualClock()
    host = LinuxHost(tmp_path, cpus=8)
    host.write("self/cgroup", "0::/../other\n")
    host.write_cgroup("cpu.max", "200000 100000\n")
    host.write_cgroup("cpu.stat", "usage_usec 0\n")
    host.write_cgroup("cgroup.procs", "4000001\n")
    estimate = estimate_on(host, clock)
    assert estimate.full_w == pytest.approx(0.75 * 225 * 2 / 8)
    host.write_cgroup("cpu.stat", "usage_usec 20000000\n")
    clock.now_s += 10.0
    assert estimate.joules() < 10 * estimate.idle_w + 0.5 * estimate.full_w


POD = "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-abc.scope\n"


@pytest.mark.parametrize(
    ("cgroup", "environ", "place", "warn"),
    [
        (POD, {}, "Kubernetes pod", True),
        ("0::/\n", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "Kubernetes pod", True),
        ("4:cpu:/docker/abc\n", {}, "container", False),
        ("0::/\n", {"SLURM_JOB_ID": "7"}, "SLURM job", True),
    ],
)
def test_a_pod_without_limits_is_told_that_the_whole_machine_counts(
    tmp_path: Path, cgroup: str, environ: dict[str, str], place: str, warn: bool
) -> None:
    host = LinuxHost(tmp_path, cpus=64)
    host.write("self/cgroup", cgroup)
    # Requests become weights, which limit nothing.
    host.write_cgroup("cpu.weight", "157\n")
    host.write_cgroup("cpu.max", "max 100000\n")
    found = cpu_model.find(environ=environ, proc_root=host.proc_root, sys_root=host.sys_root)
    (missing,) = found.missing
    assert missing.source == f"CPU limit of this {place}"
    assert "64 logical CPUs" in missing.why
    assert 'scope="process"' in missing.remedy
    assert missing.warn == warn
    assert missing.why in found.meters[0].device.note
    ours = cpu_model.find(scope="process", environ=environ, proc_root=host.proc_root, sys_root=host.sys_root)
    assert not ours.missing


def test_a_namespace_of_its_own_is_a_container(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    (host.proc_root / "self/ns").mkdir()
    (host.proc_root / "self/ns/cgroup").symlink_to("cgroup:[4026531835]")
    assert not cpu_model.find(environ={}, proc_root=host.proc_root, sys_root=host.sys_root).missing
    (host.proc_root / "self/ns/cgroup").unlink()
    (host.proc_root / "self/ns/cgroup").symlink_to("cgroup:[4026532001]")
    (missing,) = cpu_model.find(environ={}, proc_root=host.proc_root, sys_root=host.sys_root).missing
    assert missing.source == "CPU limit of this container"


def test_a_machine_or_a_pod_with_limits_is_told_nothing(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    assert not cpu_model.find(environ={}, proc_root=host.proc_root, sys_root=host.sys_root).missing
    host.write("self/cgroup", POD)
    host.write_cgroup("cpu.max", "200000 100000\n")
    host.write_cgroup("cpu.stat", "usage_usec 0\n")
    assert not cpu_model.find(environ={}, proc_root=host.proc_root, sys_root=host.sys_root).missing


def test_no_quota_charges_the_whole_machine(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=8)
    host.write_cgroup("cpu.max", "max 100000\n")
    assert estimate_on(host, VirtualClock()).full_w == pytest.approx(0.75 * 225)


def test_both_figures_of_the_user_make_the_range_narrow(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    estimate = estimate_on(host, VirtualClock(), idle_w=30.0, full_w=200.0)
    assert (estimate.idle_w, estimate.full_w) == (30.0, 200.0)
    assert (estimate.device.low, estimate.device.high) == (0.7, 1.4)


def test_one_figure_of_the_user_is_taken_and_the_other_follows(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    full = estimate_on(host, VirtualClock(), full_w=150.0)
    assert (full.idle_w, full.full_w) == pytest.approx((20.0, 150.0))
    idle = estimate_on(host, VirtualClock(), idle_w=500.0)
    assert (idle.idle_w, idle.full_w) == (500.0, 500.0)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"idle_w": 0}, "idle_w"),
        ({"idle_w": -5.0}, "idle_w"),
        ({"full_w": float("nan")}, "full_w"),
        ({"full_w": float("inf")}, "full_w"),
        ({"idle_w": 50.0, "full_w": 40.0}, "idle_w"),
        ({"scope": "cluster"}, "scope"),
    ],
)
def test_a_bad_argument_is_named(tmp_path: Path, options: dict[str, object], argument: str) -> None:
    host = LinuxHost(tmp_path)
    with pytest.raises(ArgumentError) as raised:
        cpu_model.find(proc_root=host.proc_root, sys_root=host.sys_root, **options)
    assert raised.value.argument == argument


@pytest.mark.parametrize("facts", [ROME_SERVER, MILAN_VM, {"model name": "Common KVM processor"}, {}])
@pytest.mark.parametrize("virtual", [False, True])
def test_an_estimate_says_how_far_off_it_may_be(tmp_path: Path, facts: dict[str, str], virtual: bool) -> None:
    host = LinuxHost(tmp_path, facts=facts, virtual=virtual)
    line = cpu_model.power_line(cpu_catalog.find(proc_root=host.proc_root))
    assert 0 < line.idle_w < line.full_w
    assert 0 < line.low <= 1 / 1.5
    assert line.high >= 1.5
    assert line.note


def test_an_unknown_processor_has_a_wider_range_than_a_known_one(tmp_path: Path) -> None:
    known = cpu_model.power_line(cpu_catalog.find(proc_root=LinuxHost(tmp_path / "a").proc_root))
    unknown = cpu_model.power_line(cpu_catalog.find(proc_root=LinuxHost(tmp_path / "b", facts={}).proc_root))
    assert unknown.low < known.low
    assert unknown.high > known.high
    assert "unknown" in unknown.note


def test_a_sandbox_that_counts_no_cpu_time_is_told_what_works_instead(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    host.write("stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    found = cpu_model.find(proc_root=host.proc_root, sys_root=host.sys_root)
    assert not found.meters
    assert "process" in found.missing[0].remedy
    assert cpu_model.find(scope="process", proc_root=host.proc_root, sys_root=host.sys_root).meters


def test_a_reading_that_fails_does_not_spoil_the_next(tmp_path: Path) -> None:
    clock = VirtualClock()
    host = LinuxHost(tmp_path)
    estimate = estimate_on(host, clock, idle_w=10.0, full_w=50.0)
    stat = (host.proc_root / "stat").read_text()
    host.write("stat", "gibberish")
    with pytest.raises(SourceError):
        estimate.joules()
    host.write("stat", stat)
    clock.now_s += 2.0
    assert estimate.joules() == pytest.approx(20.0)


CHILD = """
import sys, time
while time.process_time() < 0.3:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def burn(**environment: str) -> "subprocess.Popen[str]":
    """A child that has used 0.3 s of CPU time when this returns, and waits."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


def test_children_count_while_they_live_and_after() -> None:
    clock = VirtualClock()
    tree = cpu_time.ProcessTreeTime(clock=clock)
    before_s = tree()
    with burn() as child:
        clock.now_s += 60.0
        alive_s = tree() - before_s
        child.communicate()
    assert alive_s >= 0.28
    ended_s = tree() - before_s
    assert alive_s <= ended_s < alive_s + 0.5


def test_a_child_that_lived_between_two_looks_is_counted() -> None:
    tree = cpu_time.ProcessTreeTime(clock=VirtualClock())
    before_s = tree()
    with burn() as child:
        child.communicate()
    assert tree() - before_s >= 0.28


def test_a_rank_that_this_one_has_started_counts_itself() -> None:
    clock = VirtualClock()
    tree = cpu_time.ProcessTreeTime(clock=clock)
    before_s = tree()
    with burn(LOCAL_RANK="1") as child:
        clock.now_s += 60.0
        assert tree() - before_s < 0.2
        child.communicate()


def test_our_processes_cost_their_cpu_time_and_no_idle_machine(tmp_path: Path) -> None:
    clock = VirtualClock()
    host = LinuxHost(tmp_path, cpus=4)
    estimate = estimate_on(host, clock, scope="process")
    assert estimate.idle_w == 0
    before_s = sum(os.times()[:4])
    with burn() as child:
        child.communicate()
    clock.now_s += 60.0
    busy_s = sum(os.times()[:4]) - before_s
    assert estimate.joules() == pytest.approx(busy_s * 0.75 * 225 / 4, abs=0.05 * 0.75 * 225 / 4)
    assert f"/process-{os.getpid()}-" in estimate.device.id


def test_two_processes_of_a_machine_are_two_devices_in_process_scope_and_one_otherwise() -> None:
    script = (
        "import json\nfrom trainwatt.power.host import cpu_model\n"
        "print(json.dumps([cpu_model.find(scope=scope).meters[0].device.id for scope in ('machine', 'process')]))"
    )
    theirs = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    ours = [cpu_model.find(scope=scope).meters[0].device.id for scope in ("machine", "process")]
    assert ours[0] == theirs[0]
    assert ours[1] != theirs[1]


def test_this_machine_gets_a_sensible_estimate() -> None:
    (meter,) = cpu_model.find().meters
    assert isinstance(meter, Counter)
    assert meter.device.kind == "cpu"
    assert meter.device.method == "estimated"
    first_j = meter.joules()
    assert meter.joules() >= first_j >= 0


@given(cpus=st.frozensets(st.integers(0, 300), min_size=1))
def test_a_list_of_cpus_survives_being_written(cpus: frozenset[int]) -> None:
    assert cpu_time.parse_cpu_list(cpu_time.format_cpu_list(cpus)) == cpus
