"""Accelerators that a program computes on, as its framework or its user names them.

No framework is imported: devices of PyTorch and JAX are recognised by their attributes, and PyTorch itself is looked up
among the modules that the program has imported.
"""

from __future__ import annotations

import contextlib
import operator
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.power.device import Device, Found, Kind, Missing
from trainwatt.power.host.boot_id import boot_id

CUDA = "CUDA"

# Types of PyTorch's devices and platforms of JAX's on which a program computes without an accelerator.
_NOT_ACCELERATORS = frozenset({"cpu", "meta"})
# Interfaces of GPUs; those of other accelerators keep the name that the framework gives them.
_GPU_PLATFORMS = {"cuda": CUDA, "gpu": CUDA, "rocm": "ROCm", "hip": "ROCm", "xpu": "XPU", "mps": "MPS", "metal": "MPS"}
# "cuda:1", "gpu", and TensorFlow's "/device:GPU:1" and "/physical_device:GPU:1".
_NAME = re.compile(r"(?:.*/(?:physical_)?device:)?([a-z]+)(?::(\d+))?", re.IGNORECASE)
_UUID = re.compile(r"(?:GPU-|MIG-)?[0-9a-f][0-9a-f-]*(?:/\d+/\d+)?|MIG-GPU-[0-9a-f-]+/\d+/\d+", re.IGNORECASE)
_EXPECTED = (
    "GPUs as CUDA counts them from 0 ([2]), devices ('cuda:2', torch.device('cuda:2'), jax.devices()[2]), "
    "or UUIDs ('GPU-5f1c2a', as nvidia-smi -L lists them)"
)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Accelerator that a program computes on.

    Attributes:
        platform: Interface through which the program uses it: ``CUDA``, ``ROCm``, ``XPU``, ``MPS``, ``TPU`` …
        index: Number among those that the program can see, from 0; None if unknown.
        uuid: UUID or a prefix of it, with or without ``GPU-``; empty if unknown.
        name: Product name; empty if unknown.
    """

    platform: str
    index: int | None = None
    uuid: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """Product name; if unknown, platform and number or UUID."""
        which = self.uuid or (self.index if self.index is not None else "")
        return self.name or f"{self.platform} {noun_of(self.platform)} {which}".strip()


def noun_of(platform: str) -> str:
    """Return ``GPU``, or ``accelerator`` for a platform of another kind."""
    return "GPU" if platform in _GPU_PLATFORMS.values() else "accelerator"


def accelerators_of(devices: Iterable[object]) -> tuple[Accelerator, ...] | None:
    """Return the accelerators among the devices of a framework, each once; empty if there are none.

    Args:
        devices: Devices of PyTorch or JAX, and accelerators, which a plugin has described.

    Returns:
        None if the devices cannot be understood, or if there are no devices.
    """
    try:
        found = [_described(device, ask=True) for device in devices]
    # A framework or its driver may raise anything, and no description is worth a training.
    except Exception:  # noqa: BLE001
        return None
    return tuple(dict.fromkeys(filter(None, found))) if found else None


def named_accelerators(gpus: object) -> tuple[Accelerator, ...]:
    """Return the accelerators that a user names; the driver is not asked if they exist.

    Args:
        gpus: One or a sequence of: numbers as CUDA counts them, devices of PyTorch or JAX, names such as ``"cuda:2"``,
            and UUIDs or prefixes of them; a string may hold several, with commas between them.

    Raises:
        ArgumentError: Something else, or nothing.
    """
    names = [part for name in _listed(gpus) for part in (name.split(",") if isinstance(name, str) else (name,))]
    found = []
    for name in names:
        accelerator = _named(name)
        if accelerator is None:
            raise ArgumentError("gpus", gpus, _EXPECTED)
        found.append(accelerator)
    if not found:
        raise ArgumentError("gpus", gpus, f"{_EXPECTED}; to measure no GPU: devices=('cpu', 'ram')")
    return tuple(dict.fromkeys(found))


def united(named: Sequence[Accelerator] | None, told: Sequence[Accelerator] | None) -> tuple[Accelerator, ...]:
    """Return the accelerators that a user names and those that a framework tells of, each once.

    Args:
        named: From `named_accelerators`; None: none.
        told: From `accelerators_of`, which knows more about each; None: none.
    """
    told = tuple(told or ())
    return (*told, *(each for each in named or () if not any(_is_same(each, other) for other in told)))


def accelerators_in_use() -> tuple[Accelerator, ...]:
    """Return the accelerators that PyTorch computes on in this process; empty if it has not been imported.

    PyTorch is not made to initialise a driver, which would break a later fork.
    """
    torch = sys.modules.get("torch")
    found: list[Accelerator] = []
    for kind in ("cuda", "xpu"):
        with contextlib.suppress(Exception):
            backend = getattr(torch, kind)
            if backend.is_initialized():
                count = range(backend.device_count())
                used = [index for index in count if backend.memory_reserved(index)] or [backend.current_device()]
                found += [_of_torch(kind, index, ask=True) for index in used]
    with contextlib.suppress(Exception):
        if torch is not None and torch.backends.mps.is_available() and torch.mps.current_allocated_memory():
            found.append(_of_torch("mps", None, ask=True))
    return tuple(found)


def with_uncounted(found: Found, accelerators: Sequence[Accelerator] | None, kinds: Sequence[Kind]) -> Found:
    """Add the accelerators that no meter covers, and one warning about them.

    Args:
        found: Meters of this machine.
        accelerators: Accelerators that the program computes on; None if unknown.
        kinds: Kinds of device that the user wants to be measured.
    """
    covered = [meter.device.id.lower() for meter in found.meters if meter.device.kind == "gpu"]
    left = [each for each in accelerators or () if not _is_covered(each, covered)]
    if not left:
        return found
    if "gpu" not in kinds:
        why = Missing("gpu", left[0].platform, "devices= leaves GPUs out")
    else:
        why = _reason(left[0], found.missing)
    names = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in Counter(map(_label, left)).items())
    sentence = f"the program computes on {names}, whose energy is not counted: {why.why}"
    missing = [each for each in found.missing if each != why]
    uncounted = tuple(_uncounted(each, why.why) for each in left)
    return Found(found.meters, (*missing, replace(why, why=sentence)), (*found.uncounted, *uncounted))


def _is_same(named: Accelerator, told: Accelerator) -> bool:
    if named.uuid and told.uuid:
        return _bare(told.uuid).startswith(_bare(named.uuid))
    return named.platform == told.platform and named.index is not None and named.index == told.index


def _label(accelerator: Accelerator) -> str:
    return accelerator.label


def _is_covered(accelerator: Accelerator, ids: Sequence[str]) -> bool:
    """Return True if a meter reads an accelerator; one of CUDA without a UUID may be any GPU that is read."""
    if accelerator.uuid:
        bare = _bare(accelerator.uuid)
        return any(_bare(part).startswith(bare) for each in ids for part in each.removeprefix("gpu:").split("/"))
    return accelerator.platform == CUDA and bool(ids)


def _bare(uuid: str) -> str:
    return uuid.lower().removeprefix("mig-").removeprefix("gpu-").replace("-", "")


def _reason(accelerator: Accelerator, missing: Sequence[Missing]) -> Missing:
    """Return why an accelerator cannot be read: for CUDA, what NVML said."""
    if accelerator.platform != CUDA:
        why = f"there is no meter for {accelerator.platform} devices yet"
        return Missing("gpu", accelerator.platform, why, warn=True)
    said = sorted((each for each in missing if each.kind == "gpu"), key=lambda each: not each.warn)
    return replace(said[0], warn=True) if said else Missing("gpu", "NVML", "NVML does not list it", warn=True)


def _uncounted(accelerator: Accelerator, why: str) -> Device:
    which = accelerator.uuid or f"{boot_id()}-{accelerator.platform.lower()}-{accelerator.index or 0}"
    return Device(
        id=f"gpu:{which}",
        kind="gpu",
        name=accelerator.label,
        method="not counted",
        source=accelerator.platform,
        note=why,
    )


def _listed(gpus: object) -> Iterable[object]:
    if isinstance(gpus, (list, tuple, set, frozenset, range)):
        return gpus
    return (gpus,)


def _named(name: object) -> Accelerator | None:
    """Return the accelerator that a user names; None if the name cannot be understood or means the CPU."""
    if isinstance(name, str):
        return _by_text(name.strip())
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        return _described(name, ask=False)
    with contextlib.suppress(TypeError):
        index = operator.index(name)  # type: ignore[arg-type]  # an integer of any library
        return Accelerator(_cuda_or_rocm(), index) if index >= 0 and not isinstance(name, bool) else None
    return None


def _by_text(text: str) -> Accelerator | None:
    if text.isdecimal():
        return Accelerator(_cuda_or_rocm(), int(text))
    match = _NAME.fullmatch(text)
    if match and (platform := _platform(match[1].lower())) is not None:
        return Accelerator(platform, int(match[2] or 0))
    return Accelerator(CUDA, uuid=text) if _UUID.fullmatch(text) else None


def _described(device: object, *, ask: bool) -> Accelerator | None:
    """Describe a device of PyTorch or JAX; None if it is no accelerator.

    Args:
        device: The device.
        ask: Let the framework ask the driver for name and UUID, which initialises it.

    Raises:
        AttributeError: It is no device.
    """
    if isinstance(device, Accelerator):
        return device
    thing: Any = device
    if isinstance(kind := getattr(thing, "platform", None), str):
        return _of_jax(thing, kind.lower())
    kind = thing.type
    return None if kind in _NOT_ACCELERATORS else _of_torch(kind, thing.index, ask=ask)


def _of_torch(kind: str, index: int | None, *, ask: bool) -> Accelerator:
    """Describe a device of PyTorch, which calls AMD's GPUs ``cuda`` as well."""
    torch = sys.modules.get("torch")
    platform = _cuda_or_rocm() if kind == "cuda" else _GPU_PLATFORMS.get(kind, kind.upper())
    backend: Any = getattr(torch, kind, None)
    with contextlib.suppress(Exception):
        ask |= backend.is_initialized()
    if kind == "mps":
        return Accelerator(platform, index, name="Apple GPU")
    if index is None:
        index = _or_else(0, getattr(backend, "current_device", int)) if ask else 0
    if not ask:
        return Accelerator(platform, index)
    properties = _or_else(None, lambda: backend.get_device_properties(index))
    uuid = getattr(properties, "uuid", None)
    name = _or_else("", lambda: backend.get_device_name(index)) or getattr(properties, "name", "")
    return Accelerator(platform, index, "" if uuid is None else str(uuid), str(name))


def _of_jax(device: Any, platform: str) -> Accelerator | None:
    """Describe a device of JAX, which calls the GPUs of all makers ``gpu``."""
    if platform in _NOT_ACCELERATORS:
        return None
    if platform == "gpu" and "rocm" in str(getattr(device.client, "platform_version", "")).lower():
        platform = "rocm"
    index = getattr(device, "local_hardware_id", None)
    name = str(device.device_kind)
    return Accelerator(_GPU_PLATFORMS.get(platform, platform.upper()), device.id if index is None else index, "", name)


def _platform(kind: str) -> str | None:
    """Return the platform that a name stands for; None if it is none of an accelerator."""
    if kind in ("cuda", "gpu"):
        return _cuda_or_rocm()
    return _GPU_PLATFORMS.get(kind) or {"tpu": "TPU", "xla": "XLA", "hpu": "HPU", "npu": "NPU"}.get(kind)


def _cuda_or_rocm() -> str:
    """Return the platform that PyTorch means by ``cuda``; CUDA if it has not been imported."""
    version = getattr(sys.modules.get("torch"), "version", None)
    return "ROCm" if getattr(version, "hip", None) else CUDA


def _or_else(otherwise: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    # A framework or its driver may raise anything.
    except Exception:  # noqa: BLE001
        return otherwise
