"""Machines whose files are broken, and drivers that answer nonsense: discovery never raises, and explains."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from standins import nvml as standin
from standins.linux_host import LinuxHost
from standins.nvml import Code, Constant, Fault, Slice, a100, h100
from standins.powercap import PowercapTree, unprivileged
from trainwatt.power.device import Found
from trainwatt.power.discovery import discover
from trainwatt.power.host import cpu_model, ram_model, rapl
from trainwatt.power.host.boot_id import boot_id, host_id, process_id
from trainwatt.power.nvidia import discovery
from trainwatt.testing import VirtualClock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files and drivers of Linux")


def _remove(file: Path) -> None:
    file.unlink()


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def _huge(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(2**36)


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": _remove,
    "a folder": _folder,
    "a pipe": _pipe,
    "a link to itself": _loop,
    "64 GiB": _huge,
    "unreadable": lambda file: file.chmod(0),
    "empty": lambda file: file.write_bytes(b""),
    "zero": lambda file: file.write_bytes(b"0\n"),
    "negative": lambda file: file.write_bytes(b"-1 -1\n"),
    "a large number": lambda file: file.write_bytes(b"9" * 5000),
    "2^64": lambda file: file.write_bytes(b"18446744073709551616 18446744073709551616\n"),
    "a word": lambda file: file.write_bytes(b"max max\n"),
    "bytes that are no UTF-8": lambda file: file.write_bytes(b"\xff\xfe\x00\x1b[31m:\xb2"),
    "lines of colons": lambda file: file.write_bytes(b":::\n: - \n"),
}
PROC = {
    "cpuinfo": None,
    "stat": None,
    "self/cgroup": None,
    "self/task/1/status": None,
    "self/mountinfo": "25 1 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "sys/kernel/random/boot_id": None,
}
CGROUP = {
    "cpu.max": "200000 100000\n",
    "cpu.stat": "usage_usec 5\n",
    "memory.max": "1073741824\n",
    "memory.stat": "anon 5\n",
}


def described(found: Found) -> None:
    """Each device can be described and read, or is explained."""
    assert found.meters or found.missing
    for missing in found.missing:
        assert missing.why.isprintable() or missing.remedy
    for meter in found.meters:
        assert meter.device.id.isprintable()
        assert meter.device.name.isprintable()
        assert meter.device.bound_w > 0


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", [*PROC, *CGROUP])
@pytest.mark.parametrize("scope", ["machine", "process"])
def test_a_broken_file_of_the_system_stops_no_search(tmp_path: Path, how: str, name: str, scope: Any) -> None:
    host = LinuxHost(tmp_path)
    for file, text in PROC.items():
        if text:
            host.write(file, text)
    for file, text in {**CGROUP, "cgroup.procs": f"{os.getpid()}\n"}.items():
        host.write_cgroup(file, text)
    BROKEN[how](host.proc_root / name if name in PROC else host.sys_root / "fs/cgroup" / name)
    roots = {"proc_root": host.proc_root, "sys_root": host.sys_root}
    with unprivileged():
        described(cpu_model.find(scope=scope, environ={}, **roots))
        described(ram_model.find(scope=scope, environ={}, **roots))
        assert boot_id(proc_root=host.proc_root)
        assert len(host_id(root=host.proc_root)) == 16


@pytest.mark.parametrize("scope", ["machine", "process"])
def test_folders_that_may_not_be_seen_stop_no_search(tmp_path: Path, scope: Any) -> None:
    """Folders of another user, in which even a look raises."""
    host, tree = LinuxHost(tmp_path / "host"), PowercapTree(tmp_path / "tree")
    tmp_path.chmod(0)
    try:
        with unprivileged():
            described(cpu_model.find(scope=scope, environ={}, proc_root=host.proc_root, sys_root=host.sys_root))
            described(ram_model.find(scope=scope, environ={}, proc_root=host.proc_root, sys_root=host.sys_root))
            described(discover(("cpu", "ram"), scope=scope, powercap=tree.root))
    finally:
        # pytest removes it later.
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", ["name", "energy_uj", "max_energy_range_uj", "constraint_0_max_power_uw"])
def test_a_broken_file_of_a_counter_makes_it_a_model(tmp_path: Path, how: str, name: str) -> None:
    tree = PowercapTree(tmp_path, sockets=2)
    file = tree.packages()[1].path / name
    file.write_text(file.read_text() if file.exists() else "200000000\n")
    BROKEN[how](file)
    with unprivileged():
        described(rapl.find(root=tree.root))
        found = discover(("cpu", "ram"), powercap=tree.root)
    described(found)
    assert {meter.device.kind for meter in found.meters} == {"cpu", "ram"}


@pytest.mark.parametrize("how", ["a folder", "a pipe", "a link to itself", "unreadable", "a word", "missing"])
def test_a_broken_folder_of_counters_makes_them_models(tmp_path: Path, how: str) -> None:
    root = tmp_path / "powercap"
    root.touch()
    BROKEN[how](root)
    with unprivileged():
        assert [meter.device.method for meter in discover(("cpu", "ram"), powercap=root).meters] == ["estimated"] * 2


@pytest.mark.parametrize("scope", ["machine", "process"])
def test_without_procfs_a_source_that_needs_it_is_missing_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Any
) -> None:
    """As on a system on which psutil raises: what it is asked for is not there."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    found = discover(("cpu", "ram"), scope=scope, powercap=tmp_path)
    assert {meter.device.kind for meter in found.meters} | {missing.kind for missing in found.missing} >= {"cpu", "ram"}
    assert process_id().startswith(f"process-{os.getpid()}-")
    assert boot_id(proc_root=tmp_path)


@pytest.fixture
def gpus(clock: VirtualClock, tmp_path: Path) -> Callable[[], Found]:
    return lambda: discovery.find(clock=clock, environ={}, proc_root=tmp_path)


@pytest.mark.parametrize("uuid", ["GPU-\udcff\udcfe", "GPU-\x1b[31m", "same"])
def test_gpus_without_a_uuid_of_their_own_are_told_apart(nvml_library, clock, gpus, uuid: str) -> None:
    """A UUID that is no UTF-8 left no GPU, and of two with one UUID a GPU was counted once."""
    with nvml_library.running(h100(Constant(200.0), uuid=uuid), h100(Constant(300.0), uuid=uuid), clock=clock):
        found = gpus()
    described(found)
    assert len({meter.device.id for meter in found.meters}) == 2


@pytest.mark.parametrize("name", ["", "\udcff" * 8, "H100\x1b]0;x\x07", "x" * 90])
def test_a_garbled_name_costs_nothing(nvml_library, clock, gpus, name: str) -> None:
    with nvml_library.running(h100(name=name), clock=clock):
        found = gpus()
    described(found)
    assert len(found.meters) == 1


def test_a_driver_that_reports_four_billion_gpus_is_asked_for_a_few(nvml_library, clock, gpus) -> None:
    machine = standin.Machine((h100(), a100()), origin_s=clock.now_s, reported_count=-1)
    calls = nvml_library.calls
    with nvml_library.running(machine, clock=clock):
        found = gpus()
    assert len(found.meters) == 2
    assert nvml_library.calls - calls < 200
    assert "reports 4294967295 GPUs; the 2 that respond are used" in found.missing[0].why


def test_a_driver_that_reports_four_billion_slices_is_asked_for_a_few(nvml_library, clock, gpus) -> None:
    sliced = a100(slices=(Slice("MIG-1", 3, 1),), max_slices=-1)
    with nvml_library.running(sliced, h100(), clock=clock):
        described(gpus())


@pytest.mark.parametrize("code", [Code.UNKNOWN, Code.NO_PERMISSION, Code.GPU_IS_LOST, Code.TIMEOUT, Code.UNINITIALIZED])
@pytest.mark.parametrize("calls", ["any", "handle", "energy", "power", "samples"])
def test_a_gpu_that_fails_costs_that_gpu(nvml_library, clock, gpus, code: Code, calls: Any) -> None:
    with nvml_library.running(h100(faults=(Fault(code, calls),)), h100(), clock=clock) as machine:
        found = gpus()
    described(found)
    assert f"gpu:{machine.uuid(1)}" in {meter.device.id for meter in found.meters}
    assert len(found.meters) + len(found.missing) == 2
