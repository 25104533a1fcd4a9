"""Our processes' share of a GPU that others use too, by the utilisation that the driver reports per process."""

from __future__ import annotations

from pathlib import Path

from trainwatt.clock import Clock
from trainwatt.errors import SourceError
from trainwatt.power.attribution import part_of, part_of_use
from trainwatt.power.device import Found
from trainwatt.power.host.process_share import OurProcesses
from trainwatt.power.nvidia.cuda_visible_devices import Slice
from trainwatt.power.nvidia.nvml import NvmlGpu
from trainwatt.units import MICRO

# PROC_PID_INIT_INO in Linux, include/linux/proc_ns.h.
_HOSTS_NAMESPACE = "pid:[4026531836]"
_BY = "GPU utilisation"


class GpuShare:
    """Our share of a GPU's use by all processes since the last call.

    The share is that of the utilisation of its multiprocessors (SMs) in per cent (``nvmlDeviceGetProcessUtilization``).
    If the GPU was idle, it is divided equally among all processes that hold a context on it.

    Args:
        gpu: The GPU.
        clock: Source of the wall-clock time, which the driver's samples use.
    """

    def __init__(self, gpu: NvmlGpu, clock: Clock) -> None:
        self._gpu = gpu
        self._processes = OurProcesses(clock)
        self._last_us = round(clock.wall() / MICRO)

    def __call__(self) -> float:
        """See `trainwatt.power.attribution.ShareSince`."""
        uses = self._gpu.uses(self._last_us)
        self._last_us = max([self._last_us, *(time_us for _, time_us, _ in uses)])
        ours = self._processes()
        if any(per_cent for _, _, per_cent in uses):
            mine = sum(per_cent for pid, _, per_cent in uses if pid in ours)
            return part_of_use(mine, sum(per_cent for _, _, per_cent in uses))
        users = self._gpu.users()
        return part_of_use(sum(pid in ours for pid in users), len(users))


def part_of_gpus(found: Found, gpu: NvmlGpu, clock: Clock) -> Found:
    """Return a meter of our share of a GPU.

    Args:
        found: Meter of the whole GPU, if one was found.
        gpu: The GPU.
        clock: Source of the time.
    """
    return Found(tuple(part_of(meter, GpuShare(gpu, clock), _BY) for meter in found.meters), found.missing)


class SliceShare:
    """Our share of the processes that hold a context on a MIG device; 1 if the driver lists none.

    Args:
        gpu: The GPU.
        part: The MIG device.
        clock: Source of the time.
    """

    def __init__(self, gpu: NvmlGpu, part: Slice, clock: Clock) -> None:
        self._gpu, self._part = gpu, part
        self._processes = OurProcesses(clock)

    def __call__(self) -> float:
        """See `trainwatt.power.attribution.ShareSince`."""
        users = self._gpu.users(self._part)
        if not users:
            return 1.0
        ours = self._processes()
        return part_of_use(sum(pid in ours for pid in users), len(users))


def part_of_slices(found: Found, gpu: NvmlGpu, part: Slice, clock: Clock, proc_root: Path) -> Found:
    """Return a meter of our share of a MIG device; in a container that sees other process ids, of the whole device.

    Args:
        found: Meter of the MIG device, if one was found.
        gpu: The GPU.
        part: The MIG device.
        clock: Source of the time.
        proc_root: Mount point of procfs.
    """
    if _namespace(proc_root) != _HOSTS_NAMESPACE:
        return found
    meters = tuple(part_of(meter, SliceShare(gpu, part, clock), "processes") for meter in found.meters)
    return Found(meters, found.missing)


def why_not(gpu: NvmlGpu, proc_root: Path) -> str:
    """Explain why our share of a GPU is not known, so that all of it is counted; return "" if it is known.

    Args:
        gpu: The GPU.
        proc_root: Mount point of procfs.
    """
    why = _why_not(gpu, proc_root)
    return f"the whole GPU is counted: {why}" if why else ""


def _why_not(gpu: NvmlGpu, proc_root: Path) -> str:
    if _namespace(proc_root) != _HOSTS_NAMESPACE:
        return "the driver reports process ids of the host, which differ from those in this container"
    try:
        gpu.uses(0)
    except SourceError as error:
        return str(error)
    return ""


def _namespace(proc_root: Path) -> str:
    try:
        return str((proc_root / "self/ns/pid").readlink())
    except OSError:
        return _HOSTS_NAMESPACE
