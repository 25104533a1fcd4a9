"""NVIDIA GPUs: which of them this process uses, and the best meter of each."""

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
from trainwatt.power.nvidia.nvml import Nvml, NvmlBoard, is_error, open_nvml


def find(
    *,
    scope: Scope = "machine",
    clock: Clock = SYSTEM_CLOCK,
    uuids: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    proc_root: Path = Path("/proc"),
) -> Found:
    """The GPUs that this process uses, each with its best meter.

    A board shared through MIG, whose slices have no power of their own, is found once and whole, with our part of it
    as its `Device.share`. A board that cannot be read does not keep the others from being found.

    Args:
        scope: ``process``: our processes' part of each board, where its driver tells their use; else the whole.
        clock: where the time comes from.
        uuids: the GPUs that a framework uses, with or without ``GPU-``; None: ask the environment.
        environ: has ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``.
        proc_root: where procfs is mounted, to see whether a driver is loaded.
    """
    nvml = open_nvml(proc_root=proc_root)
    if isinstance(nvml, Missing):
        return Found(missing=(nvml,))
    boards, missing = _open_boards(nvml)
    facts = [board.facts for board in boards.values()]
    choice = from_environment(facts, environ) if uuids is None else from_uuids(facts, uuids)
    chosen_by = f"CUDA_VISIBLE_DEVICES={environ.get('CUDA_VISIBLE_DEVICES')}" if uuids is None else "the framework"
    found = Found(missing=(*missing, *_not_chosen(choice, len(boards), chosen_by)))
    for use in choice.uses:
        board = boards[use.board.index]
        whole = process_share.why_not(board, proc_root) if scope == "process" else ""
        meter = _meter(board, _device(use, "; ".join(filter(None, (choice.note, whole)))), clock)
        if whole:
            found += Found(missing=(Missing("gpu", "process utilisation", whole, warn=True),))
        found += meter if scope == "machine" or whole else process_share.part_of_boards(meter, board, clock)
    return found


def _open_boards(nvml: Nvml) -> tuple[dict[int, NvmlBoard], list[Missing]]:
    """All boards that answer, by index, and why the others do not."""
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        return {}, [_missing(f"the NVIDIA driver fails: {error}", warn=True)]
    opened = {index: _open(nvml, index) for index in range(count)}
    boards = {index: board for index, board in opened.items() if isinstance(board, NvmlBoard)}
    errors = {index: error for index, error in opened.items() if not isinstance(error, NvmlBoard)}
    missing = _unopened(nvml, errors, count)
    if not count:
        missing.append(_missing("the NVIDIA driver shows no GPU"))
    return boards, missing


def _unopened(nvml: Nvml, errors: Mapping[int, Exception], count: int) -> list[Missing]:
    """One line for each board that fails, and one for all that belong to others."""
    denied = [index for index, error in errors.items() if is_error(nvml, error, "NO_PERMISSION")]
    missing = [
        _missing(f"GPU {index} does not answer: {error}", warn=True)
        for index, error in errors.items()
        if index not in denied
    ]
    if denied:
        why = f"{len(denied)} of {count} GPUs may not be opened by this process"
        remedy = "ask the job scheduler for them, or: ls -l /dev/nvidia[0-9]*"
        missing.append(_missing(why, remedy, warn=len(denied) == count))
    return missing


def _open(nvml: Nvml, index: int) -> NvmlBoard | Exception:
    try:
        return NvmlBoard(nvml, index)
    except nvml.NVMLError as error:
        return cast("Exception", error)


def _not_chosen(choice: Choice, count: int, chosen_by: str) -> list[Missing]:
    missing = [
        _missing(f"the training uses a GPU, {uuid}, that NVML does not show", warn=True) for uuid in choice.unknown
    ]
    if count and not choice.uses and not missing:
        missing.append(_missing(f"{chosen_by} leaves this process none of {count} GPUs"))
    return missing


def _device(use: Use, note: str) -> Device:
    share = use.share
    shared = "" if share is None else f"shared through MIG: {share:.0%} of it is attributed to this process"
    return Device(
        id=f"gpu:{use.board.uuid}",
        kind="gpu",
        name=use.board.name,
        method="measured",
        source="NVML",
        share=share,
        note="; ".join(filter(None, (shared, note))),
    )


def _meter(board: NvmlBoard, device: Device, clock: Clock) -> Found:
    meter = best_meter(device, board, clock)
    if isinstance(meter, SourceError):
        return Found(missing=(_missing(f"{device.name} tells neither its energy nor its power: {meter}", warn=True),))
    return Found((meter,))


def _missing(why: str, remedy: str = "", *, warn: bool = False) -> Missing:
    return Missing("gpu", "NVML", why, remedy, warn)
