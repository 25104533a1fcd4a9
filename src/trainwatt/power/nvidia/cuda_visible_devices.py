"""Selection of the GPUs that this process uses: CUDA's rules, applied to the GPUs that NVML lists.

CUDA may number the GPUs differently from NVML, which matters for ``CUDA_VISIBLE_DEVICES``. Sources of the rules: CUDA
C++ Programming Guide, "CUDA environment variables"; for MIG, NVIDIA's MIG user guide, "Running CUDA applications".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_LEADING_NUMBER = re.compile(r"[+-]?\d+")
_OLD_SLICE_NAME = re.compile(r"MIG-(GPU-[^/]+)/(\d+)/(\d+)", re.IGNORECASE)
_ORDER_NOTE = (
    f"{_VISIBLE} numbers GPUs of different models in CUDA's order, fastest first, which can only be guessed; "
    f"set {_ORDER}=PCI_BUS_ID to be certain"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """MIG device.

    Attributes:
        uuid: ``MIG-…``.
        gpu_instance, compute_instance: Numbers in its older name.
        share: Fraction of the GPU's compute slices, 0 to 1.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    share: float


@dataclass(frozen=True, slots=True)
class Gpu:
    """Attributes of a GPU that determine the choice.

    Attributes:
        uuid: ``GPU-…``.
        index: Index in NVML's order.
        name: Model.
        pci: PCI bus address in NVML's format, in which text order is bus order.
        cores, clock_mhz: Number of cores and clock, from which its speed is estimated; 0 if unknown.
        slices: MIG devices; None if MIG mode is off.
    """

    uuid: str
    index: int
    name: str
    pci: str = ""
    cores: int = 0
    clock_mhz: int = 0
    slices: tuple[Slice, ...] | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """GPU that this process uses, as a whole or through MIG devices."""

    gpu: Gpu
    slices: tuple[Slice, ...] = ()

    @property
    def share(self) -> float | None:
        """Fraction of the GPU that is ours, 0 to 1; None: all of it."""
        return min(1.0, sum(part.share for part in self.slices)) if self.slices else None


@dataclass(frozen=True, slots=True)
class Choice:
    """GPUs that this process uses, each once.

    Attributes:
        uses: The GPUs, in the order in which they were named.
        unknown: Names that match no GPU.
        note: Uncertainty of the choice, or an empty string.
    """

    uses: tuple[Use, ...]
    unknown: tuple[str, ...] = ()
    note: str = ""


def from_environment(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> Choice:
    """Choose the GPUs that ``CUDA_VISIBLE_DEVICES`` selects.

    If it is unset, all are selected; if it is empty, none. Parsing stops at the first token that is invalid: a number
    that is negative or out of range, or a UUID prefix that matches no GPU or more than one. If a GPU in MIG mode is
    named without a slice, its first slice is used, as CUDA uses the first that it sees.

    Args:
        gpus: All GPUs that this process may open.
        environ: Environment variables.
    """
    text = environ.get(_VISIBLE)
    if text is None:
        return _choice([_whole(gpu) for gpu in gpus])
    order = cuda_order(gpus, environ)
    uses: list[Use] = []
    counted = False
    for token in (part.strip() for part in text.split(",")):
        use = _by_number(order, token) or _by_name(gpus, token)
        if use is None:
            break
        counted |= _LEADING_NUMBER.match(token) is not None
        uses.append(use)
    choice = _choice(uses)
    guessed = counted and len(choice.uses) < len(gpus) and not _order_is_known(gpus, environ)
    return Choice(choice.uses, note=_ORDER_NOTE if guessed else "")


def from_uuids(gpus: Sequence[Gpu], uuids: Sequence[str]) -> Choice:
    """Choose the GPUs that a framework names.

    Args:
        gpus: All GPUs that this process may open.
        uuids: Their UUIDs, with or without ``GPU-`` and hyphens.
    """
    found = {uuid: _by_exact_uuid(gpus, uuid) for uuid in uuids}
    chosen = _choice([use for use in found.values() if use])
    return Choice(chosen.uses, unknown=tuple(uuid for uuid, use in found.items() if use is None))


def cuda_order(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> list[Gpu]:
    """Sort GPUs in CUDA's order.

    With ``CUDA_DEVICE_ORDER=PCI_BUS_ID``, or if all GPUs are of the same model, the order is that of the bus addresses.
    Otherwise CUDA puts the fastest first, by a heuristic that is not published. Here the speed is cores times clock, as
    in `gpuGetMaxGflopsDeviceId` of NVIDIA's CUDA samples (``helper_cuda.h``); GPUs of equal speed are in bus order.

    Args:
        gpus: All GPUs that this process may open.
        environ: Environment variables.
    """
    by_bus = sorted(gpus, key=lambda gpu: (gpu.pci, gpu.index))
    if _order_is_known(gpus, environ):
        return by_bus
    return sorted(by_bus, key=lambda gpu: -gpu.cores * gpu.clock_mhz)


def _order_is_known(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> bool:
    return environ.get(_ORDER) == "PCI_BUS_ID" or len({gpu.name for gpu in gpus}) <= 1


def _whole(gpu: Gpu) -> Use | None:
    """Use a GPU that is named without a slice; return None in MIG mode without slices, when CUDA cannot use it."""
    if gpu.slices is None:
        return Use(gpu)
    return Use(gpu, gpu.slices[:1]) if gpu.slices else None


def _by_number(order: Sequence[Gpu], token: str) -> Use | None:
    """Find a GPU by a number, parsed like C's `strtoul`, which ignores the text after it, as CUDA does."""
    match = _LEADING_NUMBER.match(token)
    number = int(match[0]) if match else -1
    return _whole(order[number]) if 0 <= number < len(order) else None


def _by_name(gpus: Sequence[Gpu], token: str) -> Use | None:
    """Find a GPU or a slice by a UUID or its prefix, or a slice by its older name."""
    prefix = token.lower()
    if prefix in ("gpu-", "mig-") or not prefix.startswith(("gpu-", "mig-")):
        return None
    if old := _OLD_SLICE_NAME.fullmatch(token):
        parent = _by_name(gpus, old[1])
        return _by_instances(parent.gpu, int(old[2]), int(old[3])) if parent else None
    named = [(uuid.lower(), use) for gpu in gpus for uuid, use in _names(gpu)]
    exact = [use for uuid, use in named if uuid == prefix]
    matches = exact or [use for uuid, use in named if uuid.startswith(prefix)]
    return matches[0] if len(matches) == 1 else None


def _by_instances(gpu: Gpu, gpu_instance: int, compute_instance: int) -> Use | None:
    wanted = (gpu_instance, compute_instance)
    parts = [part for part in gpu.slices or () if (part.gpu_instance, part.compute_instance) == wanted]
    return Use(gpu, (parts[0],)) if parts else None


def _by_exact_uuid(gpus: Sequence[Gpu], uuid: str) -> Use | None:
    return next((use for gpu in gpus for name, use in _names(gpu) if _bare(name) == _bare(uuid)), None)


def _names(gpu: Gpu) -> list[tuple[str, Use | None]]:
    """List the UUIDs of a GPU and of its slices, each with the use that it names."""
    return [(gpu.uuid, _whole(gpu)), *((part.uuid, Use(gpu, (part,))) for part in gpu.slices or ())]


def _bare(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-").removeprefix("mig-").replace("-", "")


def _choice(uses: Sequence[Use | None]) -> Choice:
    """Merge uses, so that each GPU occurs once, with each of its slices once."""
    merged: dict[int, Use] = {}
    for use in filter(None, uses):
        before = merged.get(use.gpu.index, Use(use.gpu))
        merged[use.gpu.index] = Use(use.gpu, tuple(dict.fromkeys(before.slices + use.slices)))
    return Choice(tuple(merged.values()))
