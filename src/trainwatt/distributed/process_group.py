"""Rank, world size and means of exchange of a job, and this process's share of the host's devices."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from trainwatt.distributed.store_exchange import PATIENCE_S, Store, StoreExchange
from trainwatt.power.device import Device, Found

# Set by torchrun, Lightning and Accelerate; SLURM; Open MPI; MVAPICH; Intel MPI and MPICH.
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
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Processes of a job, seen from one of them.

    Attributes:
        rank: rank of this process, from 0; rank 0 logs and prints.
        world_size: number of processes.
        gather: an all-gather that returns the objects of all ranks to each of them; None if not available. A collective
            hangs if a rank does not take part, so it is used only without a store.
        job: an identity of the job by which its processes find each other's run folders; empty if unknown.
        store: a key-value store that all ranks share; None if not available.
        channel: name of the part of this process that exchanges through the store; the same on all ranks, and another
            one for each callback.
        patience_s: longest wait for a rank that does not come, in seconds.
    """

    rank: int = 0
    world_size: int = 1
    gather: Gather | None = None
    job: str = ""
    store: Store | None = None
    channel: str = "run"
    patience_s: float = PATIENCE_S

    @property
    def is_rank_zero(self) -> bool:
        """True if this process logs and writes for the whole job."""
        return self.rank == 0

    @property
    def uses_folders(self) -> bool:
        """True if the processes find each other by their run folders, because they have no other means."""
        return self.world_size > 1 and self.gather is None and self.store is None and bool(self.job)


ALONE = ProcessGroup()


class RankState(Protocol):
    """Protocol of a session that exchanges its figures with other ranks."""

    def state(self) -> dict[str, Any] | None:
        """Return the record of this rank to send to the others."""
        ...

    def merge(self, states: Sequence[Any]) -> None:
        """Merge the records of all ranks."""
        ...

    def poll_folders(self, *, last: bool) -> None:
        """Read the records that the other ranks have written to their run folders."""
        ...


class Exchange:
    """Exchange of names, figures and values between ranks; never raises.

    Args:
        processes: the processes of the job.
    """

    def __init__(self, processes: ProcessGroup = ALONE) -> None:
        self.is_rank_zero = processes.is_rank_zero
        self._gather: Gather | None = None
        self._store: StoreExchange | None = None
        self._is_broken = False
        self._uses_folders = processes.uses_folders
        if processes.world_size > 1 and processes.store is not None:
            store, rank, size = processes.store, processes.rank, processes.world_size
            make = lambda: StoreExchange(store, processes.channel, rank, size, processes.patience_s)  # noqa: E731
            self._store = self._tried(make, None)
        elif processes.world_size > 1:
            self._gather = processes.gather

    def name(self, own: str | None) -> str | None:
        """Return the name that rank 0 has given; None if it has none or there is no exchange."""
        if (store := self._store) is not None:
            return self._tried(lambda: store.name(own), None)
        names = self._gathered(own)
        return str(names[0]) if names and names[0] else None

    def figures(self, session: RankState, *, last: bool = False) -> None:
        """Exchange the measured figures. A rank whose measuring has failed takes part as well.

        Args:
            session: the session of this rank.
            last: True at the end of the run.
        """
        if (store := self._store) is not None:
            states: list[Any] = self._tried(lambda: store.figures(session.state(), last=last), [])
            if states:
                session.merge(states)
        elif self._gather is not None:
            session.merge(self._gathered(session.state()))
        elif self._uses_folders and self.is_rank_zero:
            session.poll_folders(last=last)

    def share(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of rank 0 on every rank; without an exchange its own on rank 0, and none on the others.

        Args:
            own: values of this rank, JSON-able; only those of rank 0 matter.
        """
        default = own if self.is_rank_zero else {}
        shared: Any = default
        if (store := self._store) is not None:
            shared = self._tried(lambda: store.share(own), default)
        elif self._gather is not None:
            shared = next(iter(self._gathered(own)), default)
        return dict(shared or {})

    def agree(self, own: bool) -> bool:
        """Return the decision of rank 0 on every rank; False if it cannot be that of all.

        Args:
            own: decision of this rank; only that of rank 0 matters. Without others, or an exchange, it is the result.
        """
        if (store := self._store) is not None:
            return self._tried(lambda: store.agree(own), False)
        if self._gather is not None:
            return bool(next(iter(self._gathered(own)), False))
        return own and not self._is_broken

    def close(self) -> None:
        """End the part of this rank in the exchange; the others no longer wait for it."""
        if (store := self._store) is not None:
            self._tried(store.close, None)

    def _gathered(self, own: Any) -> Sequence[Any]:
        gather = self._gather
        return () if gather is None else self._tried(lambda: gather(own), ())

    def _tried(self, exchange: Callable[[], T], default: T) -> T:
        """Call a function that exchanges; if it fails, return a default, and leave the exchange alone from then on."""
        try:
            return exchange()
        # A framework may raise anything if a process is gone.
        except Exception as error:  # noqa: BLE001
            self._gather = self._store = None
            self._is_broken = True
            _log.warning("trainwatt: communication with the other processes failed; their figures up to now are kept")
            _log.debug("trainwatt: %s", error)
            return default


def leads_host(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if this is the first process of the job on its host, or if no launcher reports it.

    Measuring a host twice is harmless, since its devices are aggregated by identity.
    """
    return next((environ[name] == "0" for name in _LOCAL_RANKS if environ.get(name)), True)


def own_share(found: Found, *, leads: bool) -> Found:
    """Return the part of the devices that this process reads; only the first process on a host reads host-wide ones.

    Each process reads its own GPUs, CPU set, container or process, since these have figures of their own.

    Args:
        found: all devices that can be read here.
        leads: True if this is the first process on the host.
    """
    if leads:
        return found
    return Found(tuple(meter for meter in found.meters if not _is_host_wide(meter.device)), uncounted=found.uncounted)


def job_identity(environ: Mapping[str, str] = os.environ) -> str:
    """Return an identity that all processes of a job share, from launcher variables; empty if none is set."""
    parts = [environ[name] for name in _JOBS if environ.get(name)]
    if cluster := tf_config(environ).get("cluster"):
        parts.append(json.dumps(cluster, sort_keys=True))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16] if parts else ""


def tf_config(environ: Mapping[str, str] = os.environ) -> Mapping[str, Any]:
    """Return the cluster description in ``TF_CONFIG`` of a TensorFlow worker; empty if missing or invalid."""
    try:
        config: Any = json.loads(environ.get("TF_CONFIG", "{}"))
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _is_host_wide(device: Device) -> bool:
    return device.kind != "gpu" and ("/" not in device.id or "/package-" in device.id)
