from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from standins.linux_host import LinuxHost
from trainwatt.power.host import cpu_model, ram_model
from trainwatt.power.host.cpu_model import CpuEstimate
from trainwatt.power.host.ram_model import RamEstimate
from trainwatt.power.host.slurm import grant
from trainwatt.testing import VirtualClock

JOB = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "3"}


@pytest.mark.parametrize(
    ("variables", "cpus", "memory_gib"),
    [
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "16"}, 4, None),
        ({"SLURM_CPUS_ON_NODE": "16"}, 16, None),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, 4, None),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_MEM_PER_CPU": "2048"}, 16, 32),
        ({"SLURM_MEM_PER_NODE": "8192", "SLURM_STEP_TASKS_PER_NODE": "2"}, None, 4),
        ({"SLURM_MEM_PER_NODE": "0"}, None, None),
        ({"SLURM_CPUS_ON_NODE": "nonsense"}, None, None),
    ],
)
def test_a_tasks_part_of_its_node(variables: dict[str, str], cpus: float | None, memory_gib: float | None) -> None:
    found = grant(JOB | variables)
    assert found is not None
    assert found.cpus == cpus
    assert found.memory_bytes == (memory_gib and memory_gib * 2**30)
    assert found.id == "slurm-77-3"


def test_outside_of_a_job_nothing_is_granted() -> None:
    assert grant({"SLURM_CPUS_ON_NODE": "16"}) is None


def cpu_on(host: LinuxHost, environ: dict[str, str]) -> CpuEstimate:
    (meter,) = cpu_model.find(
        environ=environ, proc_root=host.proc_root, sys_root=host.sys_root, clock=VirtualClock()
    ).meters
    assert isinstance(meter, CpuEstimate)
    return meter


def ram_on(host: LinuxHost, environ: dict[str, str]) -> RamEstimate:
    (meter,) = ram_model.find(
        environ=environ, proc_root=host.proc_root, sys_root=host.sys_root, clock=VirtualClock()
    ).meters
    assert isinstance(meter, RamEstimate)
    return meter


def test_granted_cpus_rest_at_our_cost_and_not_the_node(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=64)
    node, job = cpu_on(host, {}), cpu_on(host, JOB | {"SLURM_CPUS_ON_NODE": "8"})
    assert job.idle_w == pytest.approx(node.idle_w / 8)
    assert job.full_w == pytest.approx(node.full_w / 8)
    assert "granted by SLURM" in job.device.note


def test_a_control_group_that_leaves_less_counts_before_the_grant(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=64)
    host.allow("0-3")
    assert cpu_on(host, JOB | {"SLURM_CPUS_ON_NODE": "8"}).device.id == cpu_on(host, {}).device.id


def test_granted_memory_is_ours_and_not_the_node(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    total_mib = psutil.virtual_memory().total / 2**20
    node, job = ram_on(host, {}), ram_on(host, JOB | {"SLURM_MEM_PER_NODE": str(int(total_mib / 4))})
    assert job.power_w == pytest.approx(node.power_w / 4, rel=0.01)
    assert job.device.id.endswith("/slurm-77-3")


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_memory_is_shared_among_those_in_it(tmp_path: Path, version: int) -> None:
    host = LinuxHost(tmp_path)
    folder = "memory/" if version == 1 else ""
    if version == 1:
        host.write("self/cgroup", "4:memory:/\n")
    host.write_cgroup(folder + ("memory.limit_in_bytes" if version == 1 else "memory.max"), "1000000000\n")
    facts = "total_rss 100000000\n" if version == 1 else "anon 90000000\nfile 7\nshmem 10000000\n"
    host.write_cgroup(folder + "memory.stat", facts)
    (meter,) = ram_model.find(
        scope="process", environ={}, proc_root=host.proc_root, sys_root=host.sys_root, clock=VirtualClock()
    ).meters
    assert meter.device.method == "estimated"
    assert "/cgroup-" in meter.device.id
    assert "/process-" in meter.device.id
