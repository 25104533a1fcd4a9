"""Which GPUs this process uses: CUDA's rules, on the boards that NVML shows.

CUDA's number of a GPU is not NVML's, so that ``CUDA_VISIBLE_DEVICES`` needs care. Rules: CUDA C++ Programming Guide,
"CUDA environment variables"; for MIG, NVIDIA's MIG user guide, "Running CUDA applications".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_LEADING_NUMBER = re.compile(r"[+-]?\d+")
_OLD_SLICE_NAME = re.compile(r"MIG-(GPU-[^/]+)/(\d+)/(\d+)", re.IGNORECASE)
_ORDER_NOTE = (
    f"{_VISIBLE} counts GPUs of different models in CUDA's order, fastest first, which is guessed here; "
    f"{_ORDER}=PCI_BUS_ID settles it"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """A MIG device.

    Attributes:
        uuid: ``MIG-…``.
        gpu_instance, compute_instance: its older name's numbers.
        share: its part of the board's compute, 0 to 1.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    share: float


@dataclass(frozen=True, slots=True)
class Board:
    """A GPU as far as the choice depends on it.

    Attributes:
        uuid: ``GPU-…``.
        index: its place in NVML's order.
        name: its model.
        pci: its address on the bus, as NVML writes it, so that text order is bus order.
        cores, clock_mhz: what its speed is reckoned from; 0 where unknown.
        slices: its MIG devices; None: MIG mode is off.
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
    """A board that this process uses, whole or through slices."""

    board: Board
    slices: tuple[Slice, ...] = ()

    @property
    def share(self) -> float | None:
        """The part of the board that is ours, 0 to 1; None: all of it."""
        return min(1.0, sum(part.share for part in self.slices)) if self.slices else None


@dataclass(frozen=True, slots=True)
class Choice:
    """The boards that this process uses, each once.

    Attributes:
        uses: in the order in which they were named.
        unknown: names that no board has.
        note: what is uncertain about the choice, or nothing.
    """

    uses: tuple[Use, ...]
    unknown: tuple[str, ...] = ()
    note: str = ""


def from_environment(boards: Sequence[Board], environ: Mapping[str, str]) -> Choice:
    """What ``CUDA_VISIBLE_DEVICES`` leaves.

    Unset leaves all; empty leaves none. Reading stops at the first token that names nothing: a number out of range or
    negative, a UUID unknown or so short that two boards share it. A board in MIG mode that is not named by a slice
    is used through its first, as CUDA takes the first that it sees.

    Args:
        boards: all boards that this process may open.
        environ: the variables.
    """
    text = environ.get(_VISIBLE)
    if text is None:
        return _choice([_whole(board) for board in boards])
    order = cuda_order(boards, environ)
    uses: list[Use] = []
    counted = False
    for token in (part.strip() for part in text.split(",")):
        use = _by_number(order, token) or _by_name(boards, token)
        if use is None:
            break
        counted |= _LEADING_NUMBER.match(token) is not None
        uses.append(use)
    choice = _choice(uses)
    guessed = counted and len(choice.uses) < len(boards) and not _order_is_known(boards, environ)
    return Choice(choice.uses, note=_ORDER_NOTE if guessed else "")


def from_uuids(boards: Sequence[Board], uuids: Sequence[str]) -> Choice:
    """The boards that a framework names, which may leave out ``GPU-`` and hyphens."""
    found = {uuid: _by_exact_uuid(boards, uuid) for uuid in uuids}
    chosen = _choice([use for use in found.values() if use])
    return Choice(chosen.uses, unknown=tuple(uuid for uuid, use in found.items() if use is None))


def cuda_order(boards: Sequence[Board], environ: Mapping[str, str]) -> list[Board]:
    """Boards by CUDA's numbers.

    By bus address where ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` asks for it and where all are of one model. Otherwise CUDA
    puts the fastest first by a heuristic that is not published; here speed is cores times clock, the estimate of
    `gpuGetMaxGflopsDeviceId` in NVIDIA's CUDA samples (``helper_cuda.h``), and equals stay in bus order.
    """
    by_bus = sorted(boards, key=lambda board: (board.pci, board.index))
    if _order_is_known(boards, environ):
        return by_bus
    return sorted(by_bus, key=lambda board: -board.cores * board.clock_mhz)


def _order_is_known(boards: Sequence[Board], environ: Mapping[str, str]) -> bool:
    return environ.get(_ORDER) == "PCI_BUS_ID" or len({board.name for board in boards}) <= 1


def _whole(board: Board) -> Use | None:
    """A board not named by a slice; None in MIG mode without any slice, when CUDA cannot use it."""
    if board.slices is None:
        return Use(board)
    return Use(board, board.slices[:1]) if board.slices else None


def _by_number(order: Sequence[Board], token: str) -> Use | None:
    """CUDA reads a number as C's `strtoul` does, whatever follows it."""
    match = _LEADING_NUMBER.match(token)
    number = int(match[0]) if match else -1
    return _whole(order[number]) if 0 <= number < len(order) else None


def _by_name(boards: Sequence[Board], token: str) -> Use | None:
    """A board or a slice by a UUID or its beginning, or a slice by its older name."""
    beginning = token.lower()
    if beginning in ("gpu-", "mig-") or not beginning.startswith(("gpu-", "mig-")):
        return None
    if old := _OLD_SLICE_NAME.fullmatch(token):
        parent = _by_name(boards, old[1])
        return _by_instances(parent.board, int(old[2]), int(old[3])) if parent else None
    uses = [use for board in boards for uuid, use in _names(board) if uuid.lower().startswith(beginning)]
    exact = [use for board in boards for uuid, use in _names(board) if uuid.lower() == beginning]
    matches = exact or uses
    return matches[0] if len(matches) == 1 else None


def _by_instances(board: Board, gpu_instance: int, compute_instance: int) -> Use | None:
    wanted = (gpu_instance, compute_instance)
    parts = [part for part in board.slices or () if (part.gpu_instance, part.compute_instance) == wanted]
    return Use(board, (parts[0],)) if parts else None


def _by_exact_uuid(boards: Sequence[Board], uuid: str) -> Use | None:
    return next((use for board in boards for name, use in _names(board) if _bare(name) == _bare(uuid)), None)


def _names(board: Board) -> list[tuple[str, Use | None]]:
    """Each UUID of a board and its slices, and what it stands for."""
    return [(board.uuid, _whole(board)), *((part.uuid, Use(board, (part,))) for part in board.slices or ())]


def _bare(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-").removeprefix("mig-").replace("-", "")


def _choice(uses: Sequence[Use | None]) -> Choice:
    """Each board once, with each of its slices once."""
    merged: dict[int, Use] = {}
    for use in filter(None, uses):
        before = merged.get(use.board.index, Use(use.board))
        merged[use.board.index] = Use(use.board, tuple(dict.fromkeys(before.slices + use.slices)))
    return Choice(tuple(merged.values()))
