"""Resources that SLURM granted to a job, for clusters that do not enforce them by control groups."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.power.host import cgroup
from trainwatt.power.host.process_tree import ProcessTree, environment

_MIB = 2**20
_REPEATED = re.compile(r"(?P<number>\d+)(?P<unit>[KMGT]?)(?:\(x(?P<times>\d+)\))?", re.IGNORECASE)
_UNITS_MB = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
# "4", "a100:4" and "gpu:a100:4"; the number stands last.
_GPUS = re.compile(r"(?:[^,:]+:)*(\d+)(?:\([^)]*\))?")
# Variables that are the same in all processes of a task.
_TASK = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID")
# Folders of control groups: `job_77/step_0/task_3` in version 1, `job_77/step_0/user/task_3` in version 2.
_JOB, _STEP, _ANY, _TASK_FOLDER = r"job_{job}", r"step_\w+", r"\w+", r"task_\w+"


@dataclass(frozen=True, slots=True)
class Grant:
    """Resources of its node that a task was granted.

    Attributes:
        cpus: Number of logical CPUs; None if the variables do not give it.
        memory_bytes: Memory; None if the variables do not give it, or if the whole memory of the node was granted.
        id: Identity of the task, the same for all of its processes.
        tasks: Number of tasks of the job step on the node.
    """

    cpus: float | None
    memory_bytes: float | None
    id: str
    tasks: float = 1.0


def grant(environ: Mapping[str, str] = os.environ) -> Grant | None:
    """Return the grant of this task; None outside of a job.

    A task is what ``srun`` has started; all its processes share its grant, such as the ranks of a ``torchrun``. Its
    CPUs are ``SLURM_CPUS_PER_TASK`` or, if that was not requested, ``SLURM_CPUS_ON_NODE`` divided by the tasks of its
    step on the node. The memory is one of: ``SLURM_MEM_PER_NODE`` (MB, 0 for all) divided by the same number of tasks,
    ``SLURM_MEM_PER_CPU`` times the CPUs, ``SLURM_MEM_PER_GPU`` times the GPUs. A batch script, outside of any step,
    has all that the job has on the node. Source: the manuals of sbatch and srun, "Output environment variables".

    Args:
        environ: Environment variables.
    """
    job = environ.get("SLURM_JOB_ID")
    if not job:
        return None
    task, in_step = environ.get("SLURM_PROCID", "0"), _is_in_step(environ)
    tasks = _tasks_on_node(environ) if in_step else 1.0
    on_node, per_task = _number(environ, "SLURM_CPUS_ON_NODE"), _number(environ, "SLURM_CPUS_PER_TASK")
    share = on_node / tasks if on_node else None
    cpus = per_task or share if in_step else share or per_task
    memory_mb = _memory_mb(environ, cpus, tasks)
    return Grant(cpus, memory_mb * _MIB if memory_mb else None, f"slurm-{job}-{task}", tasks)


def task_tree(*, clock: Clock = SYSTEM_CLOCK, environ: Mapping[str, str] = os.environ) -> ProcessTree:
    """Return the tree of all processes of this task: all ranks that it has started count, as they share its grant.

    Args:
        clock: Source of the time.
        environ: Environment variables.
    """
    root = os.getpid()
    try:
        for parent in psutil.Process().parents():
            theirs = environment(parent.pid)
            if any(theirs.get(name) != environ.get(name) for name in _TASK):
                break
            root = parent.pid
    # Without procfs, psutil raises errors of many kinds.
    except Exception:  # noqa: BLE001, S110
        pass
    return ProcessTree(root, clock=clock, all_ranks=True)


def task_group_s(
    grant: Grant,
    *,
    environ: Mapping[str, str] = os.environ,
    proc_root: Path = Path("/proc"),
    sys_root: Path = Path("/sys"),
) -> Callable[[], float] | None:
    """Return a function that reads the CPU-seconds of the control group of this task; None if SLURM has made none.

    Args:
        grant: Grant of this task.
        environ: Environment variables.
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    job, step = re.compile(_JOB.format(job=re.escape(environ.get("SLURM_JOB_ID", "")))), re.compile(_STEP)
    task, between = re.compile(_TASK_FOLDER), re.compile(_ANY)
    names = [(task, step, job), (task, between, step, job)]
    if grant.tasks == 1:
        names += [(step, job), (between, step, job)]
    clocks = (cgroup.named_group_s(each, proc_root=proc_root, sys_root=sys_root) for each in names)
    return next(filter(None, clocks), None)


def _is_in_step(environ: Mapping[str, str]) -> bool:
    """Return False in a batch script or an interactive shell, which runs beside the steps of its job."""
    names = ("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_TASKS_PER_NODE")
    return any(environ.get(name) for name in names) or environ.get("SLURM_PROCID", "0") != "0"


def _tasks_on_node(environ: Mapping[str, str]) -> float:
    """Return the number of tasks of the step on this node."""
    return (
        _number(environ, "SLURM_STEP_TASKS_PER_NODE")
        or _number(environ, "SLURM_NTASKS_PER_NODE")
        or _number(environ, "SLURM_TASKS_PER_NODE")
        or 1.0
    )


def _memory_mb(environ: Mapping[str, str], cpus: float | None, tasks: float) -> float | None:
    per_node = _number(environ, "SLURM_MEM_PER_NODE")
    if per_node:
        return per_node / tasks
    per_cpu, per_gpu = _number(environ, "SLURM_MEM_PER_CPU"), _number(environ, "SLURM_MEM_PER_GPU")
    if per_cpu and cpus:
        return per_cpu * cpus
    gpus = _gpus(environ, tasks)
    return per_gpu * gpus if per_gpu and gpus else None


def _gpus(environ: Mapping[str, str], tasks: float) -> float | None:
    """Return the number of GPUs of the task; None if the variables do not give it."""
    per_task = _sum_of_gpus(environ.get("SLURM_GPUS_PER_TASK", ""))
    if per_task and _is_in_step(environ):
        return per_task
    for name in ("SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE"):
        if on_node := _sum_of_gpus(environ.get(name, "")):
            return on_node / tasks
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        if listed := environ.get(name):
            return len(listed.split(",")) / tasks
    visible = environ.get("CUDA_VISIBLE_DEVICES") or environ.get("ROCR_VISIBLE_DEVICES")
    return float(len(visible.split(","))) if visible else per_task or None


def _sum_of_gpus(text: str) -> float:
    """Add up the numbers of a list of GPUs, such as ``4``, ``a100:4`` or ``a100:2,v100:1``; 0 for anything else."""
    matches = [_GPUS.fullmatch(part) for part in text.split(",")]
    return float(sum(int(match[1]) for match in matches if match)) if all(matches) else 0.0


def _number(environ: Mapping[str, str], name: str) -> float | None:
    """Parse a positive number; of a list such as ``2(x3),1``, that of our node; return None for anything else.

    Memory in other units than the usual megabytes, such as ``80G``, is converted.
    """
    node = environ.get("SLURM_NODEID", "0")
    nodes_before = int(node) if node.isdigit() else 0
    number = 0.0
    for part in environ.get(name, "").split(","):
        match = _REPEATED.match(part)
        if match is None:
            break
        number = float(match["number"]) * _UNITS_MB[match["unit"].upper()]
        nodes_before -= int(match["times"] or 1)
        if nodes_before < 0:
            break
    return number if 0 < number < math.inf else None
