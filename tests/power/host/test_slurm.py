from __future__ import annotations

import json
import os
import subprocess
import sys
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
        ({"SLURM_MEM_PER_GPU": "81920", "SLURM_GPUS_ON_NODE": "4"}, None, 320),
        ({"SLURM_MEM_PER_GPU": "81920", "SLURM_GPUS_ON_NODE": "4", "SLURM_STEP_TASKS_PER_NODE": "4"}, None, 80),
        ({"SLURM_MEM_PER_GPU": "80G", "SLURM_GPUS_PER_NODE": "a100:2,v100:1"}, None, 240),
        ({"SLURM_MEM_PER_GPU": "1024", "SLURM_GPUS_PER_NODE": "gpu:a100:2"}, None, 2),
        ({"SLURM_MEM_PER_GPU": "1024", "SLURM_GPUS_PER_TASK": "2", "SLURM_GPUS_ON_NODE": "8"}, None, 2),
        ({"SLURM_MEM_PER_GPU": "1024", "SLURM_JOB_GPUS": "0,1,5"}, None, 3),
        ({"SLURM_MEM_PER_GPU": "1024", "CUDA_VISIBLE_DEVICES": "0,1"}, None, 2),
        ({"SLURM_MEM_PER_GPU": "1024"}, None, None),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_STEP_TASKS_PER_NODE": "4(x2),2", "SLURM_NODEID": "2"}, 8, None),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_STEP_TASKS_PER_NODE": "4(x2),2", "SLURM_NODEID": "1"}, 4, None),
        ({"SLURM_CPUS_ON_NODE": "nonsense"}, None, None),
    ],
)
def test_a_tasks_part_of_its_node(variables: dict[str, str], cpus: float | None, memory_gib: float | None) -> None:
    found = grant(JOB | variables)
    assert found is not None
    assert found.cpus == cpus
    assert found.memory_bytes == (memory_gib and memory_gib * 2**30)
    assert found.id == "slurm-77-3"


@pytest.mark.parametrize("variables", [{"SLURM_NTASKS_PER_NODE": "4"}, {"SLURM_CPUS_PER_TASK": "8"}])
def test_a_batch_script_has_all_that_the_job_has_on_the_node(variables: dict[str, str]) -> None:
    """``mpirun`` or ``torchrun`` in it starts processes that are no tasks of SLURM."""
    found = grant({"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_CPUS_ON_NODE": "32"} | variables)
    assert found is not None
    assert (found.cpus, found.id) == (32, "slurm-77-0")


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


RANK = """
import json, sys, time
from trainwatt.power.host import cpu_model
(meter,) = cpu_model.find(full_w=1000.0, idle_w=1e-9).meters
print(flush=True)
sys.stdin.readline()
burn = float(sys.argv[1])
end = time.process_time() + burn
while time.process_time() < end:
    pass
print(flush=True)
sys.stdin.readline()
print(json.dumps([meter.device.id, meter.joules(), meter.full_w]), flush=True)
"""
LAUNCHER = f"""
import os, subprocess, sys
RANK = {RANK!r}
ranks = [
    subprocess.Popen(
        [sys.executable, "-c", RANK, str(burn)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {{"LOCAL_RANK": str(rank)}},
    )
    for rank, burn in enumerate([0.2, 0.3, 0.4, 0.5])
]
for _ in range(2):
    for rank in ranks:
        rank.stdout.readline()
    for rank in ranks:
        rank.stdin.write("\\n")
        rank.stdin.flush()
for rank in ranks:
    print(rank.stdout.readline(), end="")
for rank in ranks:
    rank.communicate()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="SLURM runs on Linux")
@pytest.mark.parametrize("launched", ["srun", "sbatch"])
def test_all_ranks_of_a_task_read_the_energy_of_all_of_them(launched: str) -> None:
    """``srun torchrun`` with 4 ranks: they are one device, of which only the lowest rank's figure counts."""
    cpus = len(os.sched_getaffinity(0))
    job = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_CPUS_ON_NODE": "1"}
    job |= {"SLURM_STEP_ID": "0"} if launched == "srun" else {}
    if cpus < 2:
        pytest.skip("a grant is a part of the machine")
    done = subprocess.run([sys.executable, "-c", LAUNCHER], env=os.environ | job, capture_output=True, check=True)
    ranks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ranks) == 4
    assert {identity.partition("/")[2] for identity, _, _ in ranks} == {"slurm-77-0"}
    for _, joules, full_w in ranks:
        # Joules over watts of one CPU are CPU-seconds.
        assert joules / full_w == pytest.approx(0.2 + 0.3 + 0.4 + 0.5, abs=0.3)


def test_a_tasks_control_group_counts_its_time(tmp_path: Path) -> None:
    """Also of processes that have left the tree of the task."""
    clock = VirtualClock()
    for name, path in (
        ("v2", "0::/system.slice/slurmstepd.scope/job_77/step_0/user/task_3\n"),
        ("v1", "5:cpuacct:/slurm/uid_1000/job_77/step_0/task_3\n"),
    ):
        host = LinuxHost(tmp_path / name, cpus=64)
        host.write("self/cgroup", path)
        folder = path.strip().rpartition(":")[2].lstrip("/")
        file = f"cpuacct/{folder}/cpuacct.usage" if name == "v1" else f"{folder}/cpu.stat"
        unit, before = ("", 1e9) if name == "v1" else ("usage_usec ", 1e6)
        host.write_cgroup(file, f"{unit}{5 * before:.0f}\n")
        environ = JOB | {"SLURM_CPUS_ON_NODE": "8"}
        (estimate,) = cpu_model.find(
            environ=environ, proc_root=host.proc_root, sys_root=host.sys_root, clock=clock
        ).meters
        assert isinstance(estimate, CpuEstimate)
        host.write_cgroup(file, f"{unit}{45 * before:.0f}\n")
        clock.now_s += 10.0
        assert estimate.joules() == pytest.approx(10 * (estimate.idle_w + estimate.full_w) / 2)


def test_memory_granted_per_gpu_is_ours_and_not_the_node(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    total_mib = psutil.virtual_memory().total / 2**20
    job = JOB | {"SLURM_MEM_PER_GPU": str(int(total_mib / 8)), "SLURM_GPUS_ON_NODE": "2"}
    assert ram_on(host, job).power_w == pytest.approx(ram_on(host, {}).power_w / 4, rel=0.01)


def test_a_pod_with_a_limit_on_cpus_only_is_told_that_all_memory_counts(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    host.write("self/cgroup", "0::/kubepods/pod1\n")
    host.write_cgroup("cpu.max", "200000 100000\n")
    found = ram_model.find(environ={}, proc_root=host.proc_root, sys_root=host.sys_root, clock=VirtualClock())
    (missing,) = found.missing
    assert missing.warn
    assert missing.source == "memory limit of this Kubernetes pod"
    assert missing.why in found.meters[0].device.note
    host.write_cgroup("memory.max", "1000000000\n")
    host.write_cgroup("memory.stat", "anon 1\n")
    limited = ram_model.find(environ={}, proc_root=host.proc_root, sys_root=host.sys_root, clock=VirtualClock())
    assert not limited.missing
