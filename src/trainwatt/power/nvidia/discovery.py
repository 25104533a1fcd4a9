"""Discovery of the NVIDIA GPUs that this process uses, and of the best meter for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.errors import SourceError
from trainwatt.power.device import Device, Found, Missing, Scope
from trainwatt.power.nvidia import process_share
from trainwatt.power.nvidia.cuda_visible_devices import Choice, Use, from_environment, from_uuids
from trainwatt.power.nvidia.meters import best_meter
from trainwatt.power.nvidia.nvml import Nvml, NvmlGpu, is_error, open_nvml


def find(
    *,
    scope: Scope = "machine",
    clock: Clock = SYSTEM_CLOCK,
    uuids: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    proc_root: Path = Path("/proc"),
) -> Found:
    """Find the GPUs that this process uses, each with its best meter.

    A GPU shared through MIG, whose slices have no power sensors, is returned once and whole, with our part of it as its
    `Device.share`. If one GPU cannot be read, the others are still returned.

    Args:
        scope: ``machine``: whole GPUs. ``process``: our processes' share of each GPU if its driver reports the
            utilisation per process; else the whole GPU.
        clock: Source of the time.
        uuids: GPUs that a framework uses, with or without ``GPU-``; None: those that ``CUDA_VISIBLE_DEVICES`` selects.
        environ: Environment variables, for ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``.
        proc_root: Mount point of procfs, to check if a driver is loaded.
    """
    nvml = open_nvml(proc_root=proc_root)
    if isinstance(nvml, Missing):
        return Found(missing=(nvml,))
    gpus, missing = _open_gpus(nvml)
    facts = [gpu.facts for gpu in gpus.values()]
    choice = from_environment(facts, environ) if uuids is None else from_uuids(facts, uuids)
    chosen_by = f"CUDA_VISIBLE_DEVICES={environ.get('CUDA_VISIBLE_DEVICES')}" if uuids is None else "the framework"
    found = Found(missing=(*missing, *_not_chosen(choice, len(gpus), chosen_by)))
    for use in choice.uses:
        gpu = gpus[use.gpu.index]
        whole = process_share.why_not(gpu, proc_root) if scope == "process" else ""
        meter = _meter(gpu, _device(use, "; ".join(filter(None, (choice.note, whole)))), clock)
        if whole:
            found += Found(missing=(Missing("gpu", "process utilisation", whole, warn=True),))
        found += meter if scope == "machine" or whole else process_share.part_of_gpus(meter, gpu, clock)
    return found


def _open_gpus(nvml: Nvml) -> tuple[dict[int, NvmlGpu], list[Missing]]:
    """Return all GPUs that respond, by index, and the reasons why others do not."""
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        return {}, [_missing(f"the NVIDIA driver fails: {error}", warn=True)]
    opened = {index: _open(nvml, index) for index in range(count)}
    gpus = {index: gpu for index, gpu in opened.items() if isinstance(gpu, NvmlGpu)}
    errors = {index: error for index, error in opened.items() if not isinstance(error, NvmlGpu)}
    missing = _unopened(nvml, errors, count)
    if not count:
        missing.append(_missing("the NVIDIA driver reports no GPU"))
    return gpus, missing


def _unopened(nvml: Nvml, errors: Mapping[int, Exception], count: int) -> list[Missing]:
    """Return one entry for each GPU that fails, and one for all that this process may not open."""
    denied = [index for index, error in errors.items() if is_error(nvml, error, "NO_PERMISSION")]
    missing = [
        _missing(f"GPU {index} does not respond: {error}", warn=True)
        for index, error in errors.items()
        if index not in denied
    ]
    if denied:
        why = f"{len(denied)} of {count} GPUs cannot be opened by this process: permission denied"
        remedy = "request them from the job scheduler, or check: ls -l /dev/nvidia[0-9]*"
        missing.append(_missing(why, remedy, warn=len(denied) == count))
    return missing


def _open(nvml: Nvml, index: int) -> NvmlGpu | Exception:
    try:
        return NvmlGpu(nvml, index)
    except nvml.NVMLError as error:
        return cast("Exception", error)


def _not_chosen(choice: Choice, count: int, chosen_by: str) -> list[Missing]:
    missing = [
        _missing(f"the training uses a GPU, {uuid}, that NVML does not list", warn=True) for uuid in choice.unknown
    ]
    if count and not choice.uses and not missing:
        missing.append(_missing(f"{chosen_by} selects none of {count} GPUs for this process"))
    return missing


def _device(use: Use, note: str) -> Device:
    share = use.share
    shared = "" if share is None else f"shared through MIG: {share:.0%} of it is attributed to this process"
    return Device(
        id=f"gpu:{use.gpu.uuid}",
        kind="gpu",
        name=use.gpu.name,
        method="measured",
        source="NVML",
        share=share,
        note="; ".join(filter(None, (shared, note))),
    )


def _meter(gpu: NvmlGpu, device: Device, clock: Clock) -> Found:
    meter = best_meter(device, gpu, clock)
    if isinstance(meter, SourceError):
        return Found(missing=(_missing(f"{device.name} reports neither its energy nor its power: {meter}", warn=True),))
    return Found((meter,))


def _missing(why: str, remedy: str = "", *, warn: bool = False) -> Missing:
    return Missing("gpu", "NVML", why, remedy, warn)
