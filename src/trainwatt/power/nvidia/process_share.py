"""Our processes' part of a GPU that others use too, by what the driver tells of their use."""

from __future__ import annotations

from pathlib import Path

from trainwatt.clock import Clock
from trainwatt.errors import SourceError
from trainwatt.power.attribution import OurProcesses, part_of, part_of_use
from trainwatt.power.device import Found
from trainwatt.power.nvidia.nvml import NvmlBoard
from trainwatt.units import MICRO

_HOSTS_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in Linux, include/linux/proc_ns.h
_BY = "GPU utilisation"


class BoardShare:
    """Our part of what all processes computed on a board since the last call.

    By their per cent of its multiprocessors (``nvmlDeviceGetProcessUtilization``); where nobody computed, the board
    rests for all who hold a context on it, to equal parts.

    Args:
        board: what is shared.
        clock: the driver's samples bear wall-clock times.
    """

    def __init__(self, board: NvmlBoard, clock: Clock) -> None:
        self._board = board
        self._processes = OurProcesses(clock)
        self._last_us = round(clock.wall() / MICRO)

    def __call__(self) -> float:
        """See `trainwatt.power.attribution.ShareSince`."""
        uses = self._board.uses(self._last_us)
        self._last_us = max([self._last_us, *(time_us for _, time_us, _ in uses)])
        ours = self._processes()
        if any(per_cent for _, _, per_cent in uses):
            mine = sum(per_cent for pid, _, per_cent in uses if pid in ours)
            return part_of_use(mine, sum(per_cent for _, _, per_cent in uses))
        users = self._board.users()
        return part_of_use(sum(pid in ours for pid in users), len(users))


def part_of_boards(found: Found, board: NvmlBoard, clock: Clock) -> Found:
    """Our part of a board's meter."""
    return Found(tuple(part_of(meter, BoardShare(board, clock), _BY) for meter in found.meters), found.missing)


def why_not(board: NvmlBoard, proc_root: Path) -> str:
    """Why our part of a board cannot be told, so that all of it is counted; or nothing."""
    why = _why_not(board, proc_root)
    return f"the whole board is counted: {why}" if why else ""


def _why_not(board: NvmlBoard, proc_root: Path) -> str:
    if board.facts.slices is not None:
        return "in MIG mode the driver does not tell its processes' use"
    try:
        namespace = str((proc_root / "self/ns/pid").readlink())
    except OSError:
        namespace = _HOSTS_NAMESPACE
    if namespace != _HOSTS_NAMESPACE:
        return "the driver names processes as the host does, and this container does not"
    try:
        board.uses(0)
    except SourceError as error:
        return str(error)
    return ""
