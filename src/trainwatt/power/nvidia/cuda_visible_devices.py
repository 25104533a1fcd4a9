"""Selection of the GPUs that this process uses: CUDA's rules, applied to the GPUs that NVML lists.

CUDA may number the GPUs differently from NVML, which matters for ``CUDA_VISIBLE_DEVICES``. Sources of the rules: CUDA
C++ Programming Guide, "CUDA environment variables"; for MIG, NVIDIA's MIG user guide, "Running CUDA applications".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_KINDS = ("", "GPU-", "MIG-")
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
        share: Fraction of the GPU's compute slices, 0 to 1. Those of all slices of a GPU add up to at most 1.
        profile: Its profile, e.g. ``1g.10gb``; empty if unknown.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    share: float
    profile: str = ""

    @property
    def instances(self) -> tuple[int, int]:
        """Numbers of its GPU instance and compute instance."""
        return self.gpu_instance, self.compute_instance


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
    if environ.get(_VISIBLE) is None:
        return _choice([_whole(gpu) for gpu in gpus])
    uses, counted = visible(gpus, environ)
    choice = _choice(uses)
    guessed = counted and len(choice.uses) < len(gpus) and not _order_is_known(gpus, environ)
    return Choice(choice.uses, note=_ORDER_NOTE if guessed else "")


def from_names(gpus: Sequence[Gpu], names: Sequence[int | str], environ: Mapping[str, str]) -> Choice:
    """Choose the GPUs that a framework or its user names.

    If a GPU in MIG mode is named without a slice, its slices that ``CUDA_VISIBLE_DEVICES`` selects are used.

    Args:
        gpus: All GPUs that this process may open.
        names: Numbers as CUDA counts the visible GPUs, from 0; or UUIDs, with or without ``GPU-`` and hyphens, or
            prefixes of them that match one GPU.
        environ: Environment variables.
    """
    seen, counted = visible(gpus, environ)
    found = {name: _by_index(seen, name) if isinstance(name, int) else _by_uuid(gpus, name, seen) for name in names}
    guessed = any(isinstance(name, int) for name in names) and not _order_is_known(gpus, environ)
    return Choice(
        _choice(list(found.values())).uses,
        unknown=tuple(str(name) for name, use in found.items() if use is None),
        note=_ORDER_NOTE if guessed and (counted or len(seen) > 1) else "",
    )


def visible(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> tuple[list[Use], bool]:
    """Return the GPUs and slices that CUDA numbers from 0, and True if ``CUDA_VISIBLE_DEVICES`` has numbers itself.

    Args:
        gpus: All GPUs that this process may open.
        environ: Environment variables.
    """
    text = environ.get(_VISIBLE)
    order = cuda_order(gpus, environ)
    uses: list[Use] = []
    counted = False
    if text is None:
        return [use for use in map(_whole, order) if use], counted
    for token in (part.strip() for part in text.split(",")):
        use = _by_number(order, token) or _by_name(gpus, token)
        if use is None:
            break
        counted |= _LEADING_NUMBER.match(token) is not None
        uses.append(use)
    return uses, counted


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


def _by_index(seen: Sequence[Use], index: int) -> Use | None:
    return seen[index] if 0 <= index < len(seen) else None


def _by_uuid(gpus: Sequence[Gpu], uuid: str, seen: Sequence[Use]) -> Use | None:
    """Find a GPU or a slice by its UUID or a prefix of it; of a GPU in MIG mode, return the visible slices."""
    whole = _by_any_uuid([replace(gpu, slices=None) for gpu in gpus], uuid)
    if whole is None:
        return _by_any_uuid(gpus, uuid)
    ours = next((use for use in _choice(seen).uses if use.gpu.uuid == whole.gpu.uuid), None)
    return ours or next(_whole(gpu) for gpu in gpus if gpu.uuid == whole.gpu.uuid)


def _by_any_uuid(gpus: Sequence[Gpu], uuid: str) -> Use | None:
    return _by_exact_uuid(gpus, uuid) or next(filter(None, (_by_name(gpus, f"{kind}{uuid}") for kind in _KINDS)), None)


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
