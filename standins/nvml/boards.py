"""Simulated boards, and the machine that they are in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, Literal

from standins.waves import Constant, Wave


class Code(IntEnum):
    """NVML's error codes, as far as they are simulated."""

    UNINITIALIZED = 1
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    DRIVER_NOT_LOADED = 9
    TIMEOUT = 10
    GPU_IS_LOST = 15
    LIB_RM_VERSION_MISMATCH = 18
    UNKNOWN = 999


class Architecture(IntEnum):
    """NVML's architecture numbers."""

    PASCAL = 4
    VOLTA = 5
    TURING = 6
    AMPERE = 7
    ADA = 8
    HOPPER = 9
    BLACKWELL = 10


@dataclass(frozen=True, slots=True)
class Fault:
    """Error that calls return between two times: a lost GPU is ``Fault(Code.GPU_IS_LOST, from_s=60)``.

    Attributes:
        code: error code that is returned.
        calls: the calls that fail: ``handle`` finds a board, the others read it; ``any`` is all calls on the board.
        from_s, to_s: seconds since the machine's origin.
    """

    code: Code
    calls: Literal["any", "handle", "energy", "power", "samples"] = "any"
    from_s: float = -math.inf
    to_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Slice:
    """MIG device: a compute instance in a GPU instance."""

    uuid: str
    compute_slices: int
    gpu_instance: int
    compute_instance: int = 0
    gpu_slices: int = 0
    multiprocessors: int = 0
    memory_mb: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Simulated GPU; times in seconds since the machine's origin.

    Attributes:
        waves: the true power is their sum.
        uuid, pci: if empty, derived from the index of the board.
        power_refresh_s, power_window_s, power_phase_s: the power sensor reports the mean of a trailing window, updated
            once per period; so is each sample of the driver's buffer.
        instant_window_s: the window of the field POWER_INSTANT.
        noise_w: largest error of a power reading, constant between two updates. The counter has no noise.
        gain: factor by which power readings are too high; 1.0: exact.
        counter_refresh_s, counter_phase_s: the energy counter is exact, and updated once per period; 0: no counter.
        counter_start_j: value of the counter at the origin.
        counter_frozen_s: the counter is stuck from this time on.
        counter_reset_s: the counter restarts from 0 at this time, as after a reload of the driver.
        counter_misread_j: value that the counter shows between two times instead of its own.
        counter_misread_from_s, counter_misread_to_s: these times.
        power_misread_w: value that the power sensor shows between two times instead of its own, also in its samples.
        power_misread_from_s, power_misread_to_s: these times.
        samples_ahead_s: seconds by which the times of the samples are ahead of the wall clock; -1e9: all times are 0.
        samples: capacity of the driver's sample buffer; 0: no buffer.
        samples_untidy: True if the buffer is returned newest first, with duplicates and already returned samples.
        module_scope: True for a Grace Hopper, whose counter covers the whole module.
        slices: MIG devices; None: MIG mode is off. On a board without MIG, set ``mig`` to -1.
        latency_us, latency_busy: real time that a call takes, and True if it computes rather than sleeps.
        hang_from_s, hang_to_s: calls on the board do not return between these times, in real time.
        processes: ids of the processes on the board; 0 is the calling process.
        process_shares: share of each process in the board's work, 0 to 1; empty: equal shares.
        process_slices: index of the slice that each process is on; empty: none is on a slice.
        process_utilisation: True if the driver reports these shares; None: unless the board is in MIG mode, like
            NVIDIA's.
    """

    waves: tuple[Wave, ...] = (Constant(100.0),)
    name: str = "NVIDIA A100-SXM4-80GB"
    uuid: str = ""
    pci: str = ""
    architecture: int = Architecture.AMPERE
    capability: tuple[int, int] = (8, 0)
    cores: int = 6912
    clock_mhz: int = 1410
    power_limit_w: float = 400.0
    memory_bytes: float = 80e9
    power_refresh_s: float = 0.1
    power_window_s: float = 0.025
    instant_window_s: float = 0.025
    power_phase_s: float = 0.0
    noise_w: float = 1.5
    gain: float = 1.0
    counter_refresh_s: float = 0.1
    counter_phase_s: float = 0.0
    counter_start_j: float = 1e6
    counter_frozen_s: float = math.inf
    counter_reset_s: float = math.inf
    counter_misread_j: float = 0.0
    counter_misread_from_s: float = math.inf
    counter_misread_to_s: float = math.inf
    power_misread_w: float = 0.0
    power_misread_from_s: float = math.inf
    power_misread_to_s: float = math.inf
    samples_ahead_s: float = 0.0
    samples: int = 120
    samples_untidy: bool = False
    module_scope: bool = False
    mig: int = 0
    slices: tuple[Slice, ...] | None = None
    max_slices: int = 7
    latency_us: float = 0.0
    latency_busy: bool = False
    faults: tuple[Fault, ...] = ()
    hang_from_s: float = math.inf
    hang_to_s: float = math.inf
    processes: tuple[int, ...] = ()
    process_shares: tuple[float, ...] = ()
    process_slices: tuple[int, ...] = ()
    process_utilisation: bool | None = None

    def energy_j(self, time_s: float) -> float:
        """Return the true energy from the origin to a time."""
        return sum(wave.energy_j(time_s) for wave in self.waves)

    def lines(self) -> Iterator[str]:
        """Describe the board to the C library."""
        yield "board"
        for key, value in self._facts().items():
            yield f"{key} {value}"
        for wave in self.waves:
            yield wave.line()
        for fault in self.faults:
            yield f"fault {fault.calls} {int(fault.code)} {fault.from_s!r} {fault.to_s!r}"
        for part in self.slices or ():
            numbers = (part.gpu_instance, part.compute_instance, part.multiprocessors)
            sizes = (part.gpu_slices or part.compute_slices, part.compute_slices, part.memory_mb)
            yield f"slice {part.uuid} {' '.join(map(str, numbers + sizes))}"
        shares = self.process_shares or [-1.0] * len(self.processes)
        places = self.process_slices or [-1] * len(self.processes)
        for pid, share, place in zip(self.processes, shares, places, strict=True):
            yield f"process {pid} {share!r} {place}"

    def _facts(self) -> dict[str, Any]:
        apart = {"waves", "faults", "slices", "processes", "process_shares", "process_slices", "capability"}
        facts = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in apart}
        facts |= {key: int(value) for key, value in facts.items() if isinstance(value, int)}
        facts["capability_major"], facts["capability_minor"] = self.capability
        facts["mig"] = self.mig if self.slices is None else 1
        told = self.slices is None if self.process_utilisation is None else self.process_utilisation
        facts["process_utilisation"] = int(told)
        return facts


def a100(*waves: Wave, **changes: Any) -> Board:
    """Return an A100, whose power sensor covers 25 of each 100 ms."""
    return Board(waves=waves or (Constant(100.0),), **changes)


def h100(*waves: Wave, **changes: Any) -> Board:
    """Return an H100, whose power sensor reports the mean of the last second."""
    facts: dict[str, Any] = {
        "name": "NVIDIA H100 80GB HBM3",
        "architecture": Architecture.HOPPER,
        "capability": (9, 0),
        "cores": 16896,
        "clock_mhz": 1980,
        "power_limit_w": 700.0,
        "power_window_s": 1.0,
    }
    return a100(*waves, **facts | changes)


def v100(*waves: Wave, **changes: Any) -> Board:
    """Return a V100, the first model with an energy counter."""
    facts: dict[str, Any] = {
        "name": "Tesla V100-SXM2-16GB",
        "architecture": Architecture.VOLTA,
        "capability": (7, 0),
        "cores": 5120,
        "clock_mhz": 1530,
        "power_limit_w": 300.0,
        "memory_bytes": 16e9,
        "power_refresh_s": 0.02,
        "power_window_s": 0.01,
        "instant_window_s": 0.01,
        "counter_refresh_s": 0.02,
        "mig": -1,
    }
    return a100(*waves, **facts | changes)


def p100(*waves: Wave, **changes: Any) -> Board:
    """Return a P100, which has no energy counter."""
    facts: dict[str, Any] = {
        "name": "Tesla P100-PCIE-16GB",
        "architecture": Architecture.PASCAL,
        "capability": (6, 0),
        "cores": 3584,
        "clock_mhz": 1328,
        "power_limit_w": 250.0,
        "counter_refresh_s": 0.0,
    }
    return v100(*waves, **facts | changes)


def rtx4090(*waves: Wave, **changes: Any) -> Board:
    """Return an RTX 4090, whose power sensor reports the mean of the last second."""
    facts: dict[str, Any] = {
        "name": "NVIDIA GeForce RTX 4090",
        "architecture": Architecture.ADA,
        "capability": (8, 9),
        "cores": 16384,
        "clock_mhz": 3105,
        "power_limit_w": 450.0,
        "memory_bytes": 24e9,
        "power_window_s": 1.0,
        "instant_window_s": 0.1,
        "mig": -1,
    }
    return a100(*waves, **facts | changes)


@dataclass(frozen=True, slots=True)
class Machine:
    """Boards, in NVML's order, and the state of the driver.

    Attributes:
        boards: at most 16.
        origin_s: the boards' time 0 on the monotonic clock (CLOCK_MONOTONIC, `time.perf_counter` on Linux).
        init_error: error code of `nvmlInit`; 0: success.
        init_hang_to_s: `nvmlInit` does not return before this time after the origin, in real time.
        reported_count: number of GPUs that the driver claims to have; 0: that of the boards; -1: 2^32 - 1.
        wall_step_at_s, wall_step_s: time after the origin at which the wall clock is set, and the change; the driver's
            older samples keep their timestamps.
        driver: version of the driver.
    """

    boards: tuple[Board, ...]
    origin_s: float = 0.0
    init_error: int = 0
    init_hang_to_s: float = -math.inf
    reported_count: int = 0
    wall_step_at_s: float = -math.inf
    wall_step_s: float = 0.0
    driver: str = "580.65.06"

    def truth_j(self, from_s: float, to_s: float, board: int | None = None) -> float:
        """Return the true energy of one board or of all, between two times of the monotonic clock."""
        chosen = self.boards if board is None else self.boards[board : board + 1]
        return sum(each.energy_j(to_s - self.origin_s) - each.energy_j(from_s - self.origin_s) for each in chosen)

    def uuid(self, board: int = 0) -> str:
        """Return the UUID of a board."""
        return self._named(board).uuid

    def description(self) -> str:
        """Describe the machine to the C library."""
        lines = [f"driver {self.driver}", f"init_error {int(self.init_error)}", f"reported_count {self.reported_count}"]
        times = ("origin_s", "init_hang_to_s", "wall_step_at_s", "wall_step_s")
        lines += [f"{key} {getattr(self, key)!r}" for key in times]
        for index in range(len(self.boards)):
            lines += self._named(index).lines()
        return "\n".join(lines) + "\n"

    def _named(self, index: int) -> Board:
        board = self.boards[index]
        uuid = board.uuid or f"GPU-{index:08x}-5a1d-4c0f-8e2b-{0x7A11 * (index + 1):012x}"
        return replace(board, uuid=uuid, pci=board.pci or f"00000000:{0x17 + 0x10 * index:02X}:00.0")
