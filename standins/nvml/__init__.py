"""Simulated NVML: a library with the driver's interface, over GPUs with known true energy.

It is written in C and has the name of the driver's own library (``libnvidia-ml.so.1``), so that an unmodified
nvidia-ml-py loads it, in this process or in others. In this process, here with an hour of virtual time::

    library = load(build(folder))  # compiles; once per session is enough
    clock = VirtualClock()
    with library.running(h100(Square(60, 700, 1.0)), p100(), clock=clock) as machine:
        start_s = clock.monotonic()
        ...  # anything that calls pynvml
        clock.now_s += 3600
        machine.truth_j(start_s, clock.monotonic(), board=0)

Without ``clock`` it runs in real time. ``running`` takes boards from `h100`, `a100`, `v100`, `p100`, `rtx4090` or
`Board`, with any attribute changed (faults, MIG slices, a stuck counter …), or one `Machine`. It may be used any number
of times. Outside of it the library reports that no driver is loaded.

In another process, such as a training or another tool::

    machine = Machine((h100(Square(60, 700, 1.0)),), origin_s=time.perf_counter())
    subprocess.run(command, env={**os.environ, **environment(machine, build(folder), folder)})

Its ``PATH`` also has an ``nvidia-smi``, by which some tools detect GPUs. Waves are `Constant`, `Square`, `Ramp`,
`Trace`, `bursts` and `training`; several of them add up. ``truth_j`` takes times of the monotonic clock.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]

from standins.nvml.boards import (
    Architecture,
    Board,
    Code,
    Fault,
    Machine,
    Slice,
    a100,
    h100,
    p100,
    rtx4090,
    v100,
)
from standins.waves import Constant, Ramp, Square, Trace, Wave, bursts, training
from trainwatt.clock import Clock

__all__ = [
    "Architecture",
    "Board",
    "Code",
    "Constant",
    "Fault",
    "Library",
    "Machine",
    "Ramp",
    "Slice",
    "Square",
    "Trace",
    "Wave",
    "a100",
    "build",
    "bursts",
    "environment",
    "h100",
    "load",
    "p100",
    "rtx4090",
    "training",
    "v100",
]

SONAME = "libnvidia-ml.so.1"
_SOURCES = [Path(__file__).with_name(name) for name in ("nvml.c", "model.c")]
_FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{SONAME}"]
_CLOCK = ctypes.CFUNCTYPE(ctypes.c_double)
_NO_CLOCK = _CLOCK()


def build(folder: Path) -> Path:
    """Compile the library into a folder, unless it exists; return its path."""
    path = folder / SONAME
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{SONAME}.{os.getpid()}"
        subprocess.run(["cc", *_FLAGS, "-o", str(fresh), *map(str, _SOURCES), "-lm"], check=True)
        fresh.rename(path)
    return path


class Library:
    """Library loaded into this process.

    Args:
        path: path of the library, from `build`.
    """

    def __init__(self, path: Path) -> None:
        self._c = ctypes.CDLL(str(path))
        # a driver's own library was loaded first
        if not hasattr(ctypes.CDLL(SONAME), "standin_describe"):
            pynvml.nvmlLib = self._c
            pynvml._nvmlGetFunctionPointer_cache.clear()  # noqa: SLF001
        self._c.standin_true_j.argtypes = [ctypes.c_int, ctypes.c_double, ctypes.c_double]
        self._c.standin_true_j.restype = ctypes.c_double
        self._c.standin_calls.restype = ctypes.c_longlong
        self._c.standin_set_clocks.argtypes = [_CLOCK, _CLOCK]
        # keeps alive the callbacks that C may call
        self._clocks: list[Any] = []

    @contextmanager
    def running(self, *boards: Board | Machine, clock: Clock | None = None) -> Iterator[Machine]:
        """Simulate a machine with these boards, in real time or in that of a clock; the boards' time 0 is now.

        A `Machine` is used unchanged, including its origin.
        """
        now_s = time.perf_counter() if clock is None else clock.monotonic()
        machine = Machine(tuple(each for each in boards if isinstance(each, Board)), now_s)
        machine = next((each for each in boards if isinstance(each, Machine)), machine)
        self._set_clock(clock)
        try:
            self.change(machine)
            yield machine
        finally:
            self._c.standin_remove()
            self._set_clock(None)

    def change(self, machine: Machine) -> None:
        """Let boards behave otherwise from now on, such as fail; the machine has the boards and origin of before."""
        description = machine.description()
        # a surrogate stands for a byte that is no UTF-8, as in a corrupt name
        if line := self._c.standin_describe(description.encode(errors="surrogateescape")):
            raise ValueError(f"not understood: {description.splitlines()[line - 1]}")

    def true_j(self, board: int, from_s: float, to_s: float) -> float:
        """Return the true energy between two times of the monotonic clock, as computed in C."""
        return float(self._c.standin_true_j(board, from_s, to_s))

    @property
    def calls(self) -> int:
        """Number of calls on boards so far."""
        return int(self._c.standin_calls())

    @property
    def users(self) -> int:
        """Number of `nvmlInit` calls minus that of `nvmlShutdown` calls."""
        return int(self._c.standin_users())

    def _set_clock(self, clock: Clock | None) -> None:
        functions: list[Callable[[], float]] = [clock.monotonic, clock.wall] if clock else []
        clocks = [_CLOCK(function) for function in functions] or [_NO_CLOCK] * 2
        self._c.standin_set_clocks(*clocks)
        self._clocks += clocks


_loaded: list[Library] = []


def load(path: Path) -> Library:
    """Load the library; a process has only one, so later calls return the first."""
    if not _loaded:
        _loaded.append(Library(path))
    return _loaded[0]


def environment(machine: Machine, library: Path, folder: Path) -> dict[str, str]:
    """Write the description of a machine for another process.

    Args:
        machine: the machine, with its origin set: ``origin_s=time.perf_counter()`` for now.
        library: path of the library, from `build`.
        folder: folder of the description and of an ``nvidia-smi``.

    Returns:
        Additions to `os.environ`.
    """
    description = folder / "nvml.txt"
    description.write_text(machine.description(), encoding="ascii")
    return {
        "STANDIN_NVML": str(description),
        "LD_LIBRARY_PATH": _before(str(library.parent), "LD_LIBRARY_PATH"),
        "PATH": _before(str(_nvidia_smi(folder)), "PATH"),
    }


def _nvidia_smi(folder: Path) -> Path:
    """Create an ``nvidia-smi`` that succeeds without useful output; return its folder."""
    script = folder / "bin" / "nvidia-smi"
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\necho 'NVIDIA-SMI of a stand-in'\n", encoding="ascii")
    script.chmod(0o755)
    return script.parent


def _before(first: str, variable: str) -> str:
    return os.pathsep.join(filter(None, (first, os.environ.get(variable))))
