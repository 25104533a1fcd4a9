"""Discovery of the NVIDIA GPUs that this process uses, and of the best meter for each."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.containment import error_text
from trainwatt.errors import SourceError
from trainwatt.power.device import Device, Found, Missing, Scope
from trainwatt.power.driver_call import UnresponsiveError, answers
from trainwatt.power.host.boot_id import boot_id
from trainwatt.power.nvidia import process_share
from trainwatt.power.nvidia.cuda_visible_devices import Choice, Slice, Use, from_environment, from_names, visible
from trainwatt.power.nvidia.meters import best_meter
from trainwatt.power.nvidia.mig import slice_device
from trainwatt.power.nvidia.nvml import Nvml, NvmlGpu, is_error, open_nvml

# A driver that reports more GPUs is not believed.
_MOST_GPUS = 64


def find(
    *,
    scope: Scope = "machine",
    clock: Clock = SYSTEM_CLOCK,
    names: Sequence[int | str] | None = None,
    environ: Mapping[str, str] = os.environ,
    proc_root: Path = Path("/proc"),
) -> Found:
    """Find the GPUs that this process uses, each with its best meter.

    Each slice of a GPU shared through MIG is a device that is charged its share: see
    :mod:`trainwatt.power.nvidia.mig`. If one GPU cannot be read, the others are still returned.

    Args:
        scope: ``machine``: whole GPUs and slices. ``process``: our processes' share of each GPU if its driver reports
            the utilisation per process; else the whole GPU; of a slice, the share of our processes among those on it.
        clock: Source of the time.
        names: GPUs that the program uses: numbers as CUDA counts them from 0, or UUIDs, with or without ``GPU-``, or
            their prefixes; None: those that ``CUDA_VISIBLE_DEVICES`` selects.
        environ: Environment variables, for ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``.
        proc_root: Mount point of procfs, to check if a driver is loaded.
    """
    nvml = open_nvml(proc_root=proc_root)
    if isinstance(nvml, Missing):
        return Found(missing=(nvml,))
    gpus, missing = _open_gpus(nvml)
    facts = [gpu.facts for gpu in gpus.values()]
    choice = from_environment(facts, environ) if names is None else from_names(facts, names, environ)
    chosen_by = f"CUDA_VISIBLE_DEVICES={environ.get('CUDA_VISIBLE_DEVICES')}" if names is None else "the program"
    if not gpus and not missing:
        missing.append(_missing("the NVIDIA driver reports no GPU"))
    # A GPU that is named and that failed to open has been explained.
    if names is None or not missing:
        missing += _not_chosen(choice, len(gpus), chosen_by)

    def meters(use: Use) -> Found:
        gpu, device = gpus[use.gpu.index], _device(use, choice.note)
        if scope == "machine":
            return _of_machine(gpu, device, use, clock)
        return _of_processes(gpu, device, use, clock, proc_root)

    found = Found(missing=tuple(missing))
    calls = {("NVML", use.gpu.index): functools.partial(meters, use) for use in choice.uses}
    for (_, index), answer in answers(calls).items():
        found += answer if isinstance(answer, Found) else Found(missing=tuple(_unopened(nvml, {index: answer}, 1)))
    return found


def unknown_names(names: Sequence[int | str], *, environ: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Return the names that match no GPU or several, comma-separated, and the number of GPUs that CUDA can see.

    If NVML cannot list the GPUs, no name is unknown.

    Args:
        names: As for `find`.
        environ: Environment variables, for ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``.
    """
    nvml = open_nvml()
    if isinstance(nvml, Missing):
        return "", 0
    gpus, failed = _open_gpus(nvml)
    facts = [gpu.facts for gpu in gpus.values()]
    if failed:
        # Those that fail may be the ones that are meant.
        return "", 0
    unknown = from_names(facts, names, environ).unknown
    return ", ".join(unknown), len(visible(facts, environ)[0])


def _of_machine(gpu: NvmlGpu, device: Device, use: Use, clock: Clock) -> Found:
    """Return a meter of the whole GPU, or one of each slice of it."""
    found = Found()
    for part_gpu, part_device, _ in _parts(gpu, device, use):
        found += _meter(part_gpu, part_device, clock)
    return found


def _of_processes(gpu: NvmlGpu, device: Device, use: Use, clock: Clock, proc_root: Path) -> Found:
    """Return a meter of our processes' share of a GPU; if it is unknown, one of the whole GPU or slice."""
    why = process_share.why_not(gpu, proc_root)
    if not why:
        return process_share.part_of_gpus(_meter(gpu, device, clock), gpu, clock)
    if not use.slices:
        noted = replace(device, note="; ".join(filter(None, (device.note, why))))
        return _meter(gpu, noted, clock) + Found(missing=(Missing("gpu", "process utilisation", why, warn=True),))
    found = Found()
    for part_gpu, part_device, part in _parts(gpu, device, use):
        meter = _meter(part_gpu, part_device, clock)
        found += process_share.part_of_slices(meter, gpu, part, clock, proc_root) if part else meter
    return found


def _parts(gpu: NvmlGpu, device: Device, use: Use) -> Iterator[tuple[NvmlGpu, Device, Slice | None]]:
    """Yield what is used of a GPU: all of it, or each of our slices."""
    if not use.slices:
        yield gpu, device, None
    for part in use.slices:
        yield gpu.part(part.share), slice_device(device, part), part


def _open_gpus(nvml: Nvml) -> tuple[dict[int, NvmlGpu], list[Missing]]:
    """Return all GPUs that respond, by index, and the reasons why others do not."""
    (count,) = answers({("NVML", "count"): lambda: int(nvml.nvmlDeviceGetCount())}).values()
    if not isinstance(count, int):
        return {}, [_missing(f"the NVIDIA driver fails: {_words(nvml, count)}", warn=True)]
    indices = range(min(count, _MOST_GPUS))
    opened = answers({("NVML", index): functools.partial(NvmlGpu, nvml, index) for index in indices})
    gpus = {index: gpu for (_, index), gpu in opened.items() if isinstance(gpu, NvmlGpu)}
    errors = {index: error for (_, index), error in opened.items() if isinstance(error, Exception)}
    _tell_apart(list(gpus.values()))
    if count > _MOST_GPUS:
        why = f"the NVIDIA driver reports {count} GPUs; the {len(gpus)} that respond are used"
        return gpus, [_missing(why, "see: sudo dmesg | grep -i nvrm", warn=True)]
    return gpus, _unopened(nvml, errors, count)


def _tell_apart(gpus: Sequence[NvmlGpu]) -> None:
    """Identify GPUs whose UUID is empty, or that of another one, by this boot of the machine and their index."""
    known: set[str] = set()
    for gpu in gpus:
        if not gpu.facts.uuid or gpu.facts.uuid in known:
            gpu.facts = replace(gpu.facts, uuid=f"{boot_id()}-{gpu.facts.index}")
        known.add(gpu.facts.uuid)


def _unopened(nvml: Nvml, errors: Mapping[int, Exception], count: int) -> list[Missing]:
    """Return one entry for each GPU that fails, and one for all that this process may not open."""
    denied = [index for index, error in errors.items() if is_error(nvml, error, "NO_PERMISSION")]
    missing = [
        _missing(f"GPU {index} does not respond: {_words(nvml, error)}", warn=True)
        for index, error in errors.items()
        if index not in denied
    ]
    if denied:
        why = f"{len(denied)} of {count} GPUs cannot be opened by this process: permission denied"
        remedy = "request them from the job scheduler, or check: ls -l /dev/nvidia[0-9]*"
        missing.append(_missing(why, remedy, warn=len(denied) == count))
    return missing


def _words(nvml: Nvml, error: Exception) -> str:
    return str(error) if isinstance(error, (nvml.NVMLError, UnresponsiveError)) else error_text(error)


def _not_chosen(choice: Choice, count: int, chosen_by: str) -> list[Missing]:
    missing = [
        _missing(f"the program uses a GPU, {name}, that NVML does not list", warn=True) for name in choice.unknown
    ]
    if count and not choice.uses and not missing:
        missing.append(_missing(f"{chosen_by} selects none of {count} GPUs for this process"))
    return missing


def _device(use: Use, note: str) -> Device:
    return Device(id=f"gpu:{use.gpu.uuid}", kind="gpu", name=use.gpu.name, method="measured", source="NVML", note=note)


def _meter(gpu: NvmlGpu, device: Device, clock: Clock) -> Found:
    meter = best_meter(device, gpu, clock)
    if isinstance(meter, SourceError):
        return Found(missing=(_missing(f"{device.name} reports neither its energy nor its power: {meter}", warn=True),))
    return Found((meter,))


def _missing(why: str, remedy: str = "", *, warn: bool = False) -> Missing:
    return Missing("gpu", "NVML", why, remedy, warn)
