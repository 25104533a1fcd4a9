"""Identity of the GPUs that a program computes on."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def gpu_uuids(devices: Iterable[torch.device]) -> tuple[str, ...] | None:
    """Return the UUIDs of CUDA devices.

    Args:
        devices: the devices that hold the model.

    Returns:
        The UUIDs in sorted order. None if there are no devices, if one of them is not a CUDA device, or if torch is
        older than 2.4, which does not report UUIDs.
    """
    distinct = set(devices)
    if not distinct or any(device.type != "cuda" for device in distinct):
        return None
    uuids = [getattr(torch.cuda.get_device_properties(device), "uuid", None) for device in distinct]
    return None if None in uuids else tuple(sorted({str(uuid) for uuid in uuids}))
