"""Power model of memory without a counter: by installed size."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.errors import SourceError
from trainwatt.power import attribution
from trainwatt.power.device import Device, Found, Missing, Scope
from trainwatt.power.host import boot_id, cgroup, cpu_catalog, process_share, slurm

_BYTES_PER_GB = 2**30

CLOUD_CARBON_FOOTPRINT_W_PER_GB = 0.392
"""Mean of two manufacturers' figures (Cloud Carbon Footprint, methodology)."""
BOAVIZTA_W_PER_GB = 0.284
"""Mean of stress tests (BoaviztAPI, RAM consumption profile)."""
CODECARBON_W_PER_DIMM = 5.0
"""Power of one module of any size (CodeCarbon 3); modules are assumed to have 64 GB."""
_GB_PER_DIMM = 64
_LEAST_DIMMS = 2


@dataclass(frozen=True, slots=True)
class RamWatts:
    """Power of a machine's memory in watts: central estimate, lower and upper limit."""

    central_w: float
    low_w: float
    high_w: float


def model(size_gb: float, *, virtual: bool = False) -> RamWatts:
    """Estimate the power of memory from its size.

    Three published models differ by up to a factor of five (for 512 GB: 40, 145 and 201 W): 0.392 W per GB (Cloud
    Carbon Footprint), 0.284 W per GB (Boavizta), 5 W per module (CodeCarbon 3). The central estimate is their geometric
    mean; the limits are the lowest and the highest. The power of memory depends little on its load, which is ignored.

    Args:
        size_gb: Installed memory in GB of 2**30 bytes.
        virtual: True in a virtual machine, which uses a part of larger modules: no minimum number of modules applies.
    """
    modules = size_gb / _GB_PER_DIMM if virtual else max(_LEAST_DIMMS, math.ceil(size_gb / _GB_PER_DIMM))
    watts = (
        CLOUD_CARBON_FOOTPRINT_W_PER_GB * size_gb,
        BOAVIZTA_W_PER_GB * size_gb,
        CODECARBON_W_PER_DIMM * modules,
    )
    return RamWatts(math.prod(watts) ** (1 / len(watts)), min(watts), max(watts))


class RamEstimate:
    """`Counter` of constant power.

    Args:
        device: Device that is estimated.
        watts: Its power.
        clock: Source of the time.
    """

    wraps_at_j = None
    max_gap_s = math.inf
    refresh_s = 0.0

    def __init__(self, device: Device, watts: float, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.device = device
        self.power_w = watts
        self._clock = clock
        self._start_s = clock.monotonic()

    def joules(self) -> float:
        """Return the joules since construction: watts times time."""
        return self.power_w * (self._clock.monotonic() - self._start_s)

    def watts(self) -> None:
        """Return None: there is no second sensor."""
        return


def find(
    *,
    scope: Scope = "machine",
    clock: Clock = SYSTEM_CLOCK,
    environ: Mapping[str, str] = os.environ,
    proc_root: Path = Path("/proc"),
    sys_root: Path = Path("/sys"),
) -> Found:
    """Return an estimate for the memory of the machine, or for as much of it as a container or a job may use.

    For machines on which RAPL does not measure memory.

    Args:
        scope: ``machine``: all of this memory. ``process``: our processes' share of the memory in use.
        clock: Source of the time.
        environ: Environment variables, for those of SLURM.
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.
    """
    total_bytes = _total_bytes()
    if total_bytes is None:
        return Found(missing=(Missing("ram", "RAM model", "the system does not report the size of the memory"),))
    ours = _ours(total_bytes, environ, proc_root, sys_root)
    watts = model(total_bytes / _BYTES_PER_GB, virtual=cpu_catalog.find(proc_root=proc_root).virtual)
    ours_bytes = ours.limit_bytes
    unlimited = _unlimited(ours, environ, proc_root, sys_root) if scope == "machine" else None
    limits = f"{unlimited.source}: {unlimited.why}" if unlimited else ""
    device = Device(
        id=f"ram:{boot_id.boot_id(proc_root=proc_root)}{ours.group_id}",
        kind="ram",
        name=f"{ours_bytes / _BYTES_PER_GB:.0f} GB of memory",
        method="estimated",
        source="model by memory size",
        low=watts.low_w / watts.central_w,
        high=watts.high_w / watts.central_w,
        cause="RAM model",
        note="; ".join(filter(None, ("published models differ by up to a factor of five", limits))),
    )
    estimate = RamEstimate(device, watts.central_w * ours_bytes / total_bytes, clock=clock)
    if scope == "machine":
        return Found((estimate,), (unlimited,) if unlimited else ())
    try:
        return Found(
            (
                attribution.AttributedCounter(
                    estimate, process_share.MemoryShare(ours.used_bytes, clock), "memory in use"
                ),
            )
        )
    except SourceError as error:
        return Found(
            missing=(Missing("ram", "RAM model", f"our share of the memory cannot be read: {error}", warn=True),)
        )


def _ours(total_bytes: int, environ: Mapping[str, str], proc_root: Path, sys_root: Path) -> cgroup.MemoryLimit:
    """Return the memory that a control group or a job may use; a job's memory in use is that of its own processes."""
    limit = cgroup.memory_limit(proc_root=proc_root, sys_root=sys_root)
    grant = slurm.grant(environ)
    most = min(total_bytes, limit.limit_bytes if limit else total_bytes)
    if grant and grant.memory_bytes and grant.memory_bytes < most:
        tree = process_share.OurProcesses(SYSTEM_CLOCK, slurm.task_tree(environ=environ))
        return cgroup.MemoryLimit(int(grant.memory_bytes), lambda: _proportional_bytes(tree()), f"/{grant.id}")
    if limit and limit.limit_bytes < total_bytes:
        return cgroup.MemoryLimit(limit.limit_bytes, limit.used_bytes, f"/{limit.group_id}")
    return cgroup.MemoryLimit(total_bytes, _used_bytes, "")


def _unlimited(ours: cgroup.MemoryLimit, environ: Mapping[str, str], proc_root: Path, sys_root: Path) -> Missing | None:
    """Report that all memory is charged because the part that is ours is not known; None if it is."""
    if ours.group_id:
        return None
    place = cgroup.container(environ=environ, proc_root=proc_root)
    grant = slurm.grant(environ)
    if not place and grant and grant.memory_bytes is None and environ.get("SLURM_MEM_PER_NODE") != "0":
        place = "SLURM job"
    if not place:
        return None
    # Without a limit on CPUs too, one warning says so.
    warn = place == "Kubernetes pod" and cgroup.cpu_quota(proc_root=proc_root, sys_root=sys_root) is not None
    why = "there is none, so all memory of the machine is counted"
    return Missing("ram", f"memory limit of this {place}", why, cgroup.REMEDY, warn=warn)


def _proportional_bytes(pids: Collection[int]) -> int:
    return int(sum(process_share.proportional_bytes(pid) for pid in pids))


def _total_bytes() -> int | None:
    """Return the installed memory; None if the system does not report it."""
    try:
        return int(psutil.virtual_memory().total) or None
    # Without procfs, psutil raises errors of many kinds.
    except Exception:  # noqa: BLE001
        pages = getattr(os, "sysconf_names", {})
        if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(pages):
            return None
        total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return total_bytes if total_bytes > 0 else None


def _used_bytes() -> int:
    memory = psutil.virtual_memory()
    return int(memory.total - memory.available)
