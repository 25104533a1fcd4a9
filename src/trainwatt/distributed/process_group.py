"""Which process of a job this is, and what it has to measure of its host."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trainwatt.power.device import Device, Found

# by torchrun, Lightning and Accelerate; SLURM; Open MPI; MVAPICH; Intel MPI and MPICH
_LOCAL_RANKS = (
    "LOCAL_RANK",
    "SLURM_LOCALID",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
)
_log = logging.getLogger("trainwatt")

_JOBS = ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "JAX_COORDINATOR_ADDRESS", "COORDINATOR_ADDRESS")

Gather = Callable[[Any], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of a job, as one of them sees them.

    Attributes:
        rank: its number, from 0; the first one logs and prints.
        count: how many there are.
        gather: a collective that gives each of them what all have given it; None where there is none.
        job: an identity of the job by which its processes find each other's folders; empty where there is none.
    """

    rank: int = 0
    count: int = 1
    gather: Gather | None = None
    job: str = ""

    @property
    def first(self) -> bool:
        """Whether this one speaks for all."""
        return self.rank == 0

    @property
    def meets(self) -> bool:
        """Whether they find each other by their folders, for want of a collective."""
        return self.count > 1 and self.gather is None and bool(self.job)


ALONE = ProcessGroup()


class Teller(Protocol):
    """A session, as far as its figures are told and heard."""

    def state(self) -> dict[str, Any] | None:
        """What the others should know."""
        ...

    def merge(self, states: Sequence[Any]) -> None:
        """What the others have told."""
        ...

    def poll_folders(self, *, last: bool) -> None:
        """See what the others have written."""
        ...


class Exchange:
    """Talks to the other processes of a job by the collective that the framework has; nothing raises.

    Args:
        processes: the job's.
    """

    def __init__(self, processes: ProcessGroup = ALONE) -> None:
        self._gather = processes.gather if processes.count > 1 else None
        self._meets = processes.meets
        self.first = processes.first

    def name(self, own: str | None) -> str | None:
        """The name that the first process gives; None where there is none, or no way to tell it."""
        told = self._gathered(own)
        return str(told[0]) if told and told[0] else None

    def figures(self, session: Teller, *, last: bool = False) -> None:
        """Tell each other what was measured. A process whose measuring has failed takes part, too.

        Args:
            session: which tells and hears.
            last: whether the run has ended.
        """
        if self._gather is not None:
            session.merge(self._gathered(session.state()))
        elif self._meets and self.first:
            session.poll_folders(last=last)

    def _gathered(self, own: Any) -> Sequence[Any]:
        if self._gather is None:
            return ()
        try:
            return self._gather(own)
        except Exception as error:  # noqa: BLE001  # whatever the framework raises where a process is gone
            self._gather = None
            _log.warning("trainwatt: the other processes cannot be heard any more; their figures up to here count")
            _log.debug("trainwatt: %s", error)
            return ()


def leads_host(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the first process of the job on its host; True, too, where no launcher tells.

    To measure a host twice is harmless, for it is joined by identity.
    """
    return next((environ[name] == "0" for name in _LOCAL_RANKS if environ.get(name)), True)


def own_share(found: Found, *, leads: bool) -> Found:
    """What this process is to read: what belongs to the whole host only the first one on it.

    A set of CPUs, a container or a process that has its own figure is everyone's own.

    Args:
        found: all that can be read here.
        leads: whether this is the first one.
    """
    if leads:
        return found
    return Found(tuple(meter for meter in found.meters if not _of_the_host(meter.device)))


def job_identity(environ: Mapping[str, str] = os.environ) -> str:
    """An identity that all processes of a job agree on, by what has launched them; empty where nothing tells."""
    told = [environ[name] for name in _JOBS if environ.get(name)]
    if cluster := tf_config(environ).get("cluster"):
        told.append(json.dumps(cluster, sort_keys=True))
    return hashlib.sha256("|".join(told).encode()).hexdigest()[:16] if told else ""


def tf_config(environ: Mapping[str, str] = os.environ) -> Mapping[str, Any]:
    """What ``TF_CONFIG`` tells a TensorFlow worker of its cluster; empty where it tells nothing."""
    try:
        told: Any = json.loads(environ.get("TF_CONFIG", "{}"))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _of_the_host(device: Device) -> bool:
    return device.kind != "gpu" and ("/" not in device.id or "/package-" in device.id)
