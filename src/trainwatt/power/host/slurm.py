"""What a SLURM job was granted of a node, for clusters that do not hold it to that by control groups."""

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
    """A task's part of its node.

    Attributes:
        cpus: logical CPUs; None where the variables do not tell.
        memory_bytes: memory; None where they do not tell, or all of the node's was granted.
        id: the same for everyone in the task, and for nobody else.
    """

    cpus: float | None
    memory_bytes: float | None
    id: str


def grant(environ: Mapping[str, str] = os.environ) -> Grant | None:
    """This task's grant, or None outside of a job.

    ``SLURM_CPUS_PER_TASK`` and, where that was not asked for, the job's ``SLURM_CPUS_ON_NODE`` over its tasks on the
    node; ``SLURM_MEM_PER_NODE`` (MB, 0 for all) over the same, or ``SLURM_MEM_PER_CPU`` times the CPUs: sbatch's and
    srun's manuals, "Output environment variables".

    Args:
        environ: has the variables.
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
    """A positive number, the first of a list such as ``2(x3),1``; None otherwise."""
    match = _REPEATED.match(environ.get(name, ""))
    number = float(match[1]) if match else 0.0
    return number if 0 < number < math.inf else None
