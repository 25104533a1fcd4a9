"""Resources that SLURM granted to a job, for clusters that do not enforce them by control groups."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

_MIB = 2**20
_REPEATED = re.compile(r"(\d+)(?:\(x\d+\))?")


@dataclass(frozen=True, slots=True)
class Grant:
    """Resources of its node that a task was granted.

    Attributes:
        cpus: Number of logical CPUs; None if the variables do not give it.
        memory_bytes: Memory; None if the variables do not give it, or if the whole memory of the node was granted.
        id: Identity of the task, the same for all of its processes.
    """

    cpus: float | None
    memory_bytes: float | None
    id: str


def grant(environ: Mapping[str, str] = os.environ) -> Grant | None:
    """Return the grant of this task; None outside of a job.

    The CPUs are ``SLURM_CPUS_PER_TASK`` or, if that was not requested, ``SLURM_CPUS_ON_NODE`` divided by the job's
    tasks on the node. The memory is ``SLURM_MEM_PER_NODE`` (MB, 0 for all) divided by the same number of tasks, or
    ``SLURM_MEM_PER_CPU`` times the CPUs. Source: the manuals of sbatch and srun, "Output environment variables".

    Args:
        environ: Environment variables.
    """
    job = environ.get("SLURM_JOB_ID")
    if not job:
        return None
    tasks = _number(environ, "SLURM_STEP_TASKS_PER_NODE") or _number(environ, "SLURM_NTASKS_PER_NODE") or 1.0
    on_node = _number(environ, "SLURM_CPUS_ON_NODE")
    cpus = _number(environ, "SLURM_CPUS_PER_TASK") or (on_node / tasks if on_node else None)
    per_node, per_cpu = _number(environ, "SLURM_MEM_PER_NODE"), _number(environ, "SLURM_MEM_PER_CPU")
    memory_mb = per_node / tasks if per_node else per_cpu * cpus if per_cpu and cpus else None
    task = environ.get("SLURM_PROCID", "0")
    return Grant(cpus, memory_mb * _MIB if memory_mb else None, f"slurm-{job}-{task}")


def _number(environ: Mapping[str, str], name: str) -> float | None:
    """Parse a positive number, the first of a list such as ``2(x3),1``; return None for anything else."""
    match = _REPEATED.match(environ.get(name, ""))
    number = float(match[1]) if match else 0.0
    return number if 0 < number < math.inf else None
