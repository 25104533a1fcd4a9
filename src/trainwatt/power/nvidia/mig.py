"""MIG devices: slices of a GPU that several programs share, without power sensors of their own.

A slice is charged its fraction of the GPU's compute slices: 1/7 for a profile ``1g`` of an A100 or H100. The shares of
all slices add up to at most the GPU, its idle power included. The driver reports no utilisation per process in MIG mode
(NVML documentation, `nvmlDeviceGetProcessUtilization`), so that the true share is known to be in a range only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trainwatt.power.device import Device

if TYPE_CHECKING:
    from trainwatt.power.nvidia.cuda_visible_devices import Slice

# An idle H100 draws about 70 of its 700 W, an A100 about 55 of 400 W: the lower one makes the wider range.
_IDLE = 0.1
_PARTS = re.compile(r"/(?=MIG-|process-)", re.IGNORECASE)


def share_range(share: float) -> tuple[float, float]:
    """Return the limits of the true energy of slices, as multiples of the energy that they are charged.

    The highest: all other slices are idle, and ours drew everything: ``1 / share``. The lowest: ours are idle, and all
    others draw as much as they can: ours drew their part of the idle power ``i``, which is ``i / (i + (1 - i) * (1 -
    share))`` of what they are charged. If all slices are ours, both are 1.

    Args:
        share: Fraction of the GPU's compute slices, above 0 and up to 1.
    """
    return _IDLE / (_IDLE + (1 - _IDLE) * (1 - share)), 1 / share


def slice_device(whole: Device, part: Slice) -> Device:
    """Describe a slice of a GPU.

    Args:
        whole: The GPU.
        part: The slice.
    """
    low, high = share_range(part.share)
    note = f"MIG slice {part.profile or part.uuid}: {_fraction(part.share)} of the energy of its GPU, by compute slices"
    return replace(
        whole,
        id=f"{whole.id}/{part.uuid}",
        method="estimated",
        share=part.share,
        low=low,
        high=high,
        cause="share by MIG slices",
        max_w=part.share * whole.bound_w,
        note="; ".join(filter(None, (whole.note, note))),
    )


def pooled(devices: Sequence[Device]) -> tuple[Device, ...]:
    """Return devices with the range of all slices of a GPU together, in place of that of each slice.

    What one slice is charged too little, another of the same GPU is charged too much: the energy of seven slices of
    seven is that of the GPU.

    Args:
        devices: Devices that were read at the same time, each once.
    """
    return tuple(_pooled(device, devices) for device in devices)


def held_gpus(devices: Sequence[Device]) -> list[tuple[str, float]]:
    """Return the name of each GPU, and the fraction of it that is held, above 0 and up to 1.

    Args:
        devices: Devices of any kind.
    """
    gpus = {_gpu_id(device): device.name for device in devices if device.kind == "gpu"}
    return [(name, _held(gpu_id, devices)) for gpu_id, name in gpus.items()]


def _pooled(device: Device, devices: Sequence[Device]) -> Device:
    if device.share is None:
        return device
    low, high = share_range(device.share)
    all_low, all_high = share_range(_held(_gpu_id(device), devices))
    return replace(device, low=device.low / low * all_low, high=device.high / high * all_high)


def _held(gpu_id: str, devices: Iterable[Device]) -> float:
    """Return the fraction of a GPU that its devices hold; two processes may share a slice, which then counts once."""
    shares = {
        device.id.lower().partition("/process-")[0]: 1.0 if device.share is None else device.share
        for device in devices
        if device.kind == "gpu" and _gpu_id(device) == gpu_id
    }
    return min(1.0, sum(shares.values()))


def _gpu_id(device: Device) -> str:
    """Return the id of the GPU that a device is, or is a part of."""
    return _PARTS.split(device.id, 1)[0]


def _fraction(share: float) -> str:
    # A GPU has up to seven compute slices.
    counts = ((part, whole) for whole in range(1, 9) for part in range(1, whole + 1))
    return next((f"{part}/{whole}" for part, whole in counts if abs(part / whole - share) < 1e-6), f"{share:.0%}")
