"""A library that answers as NVML does, over GPUs whose true energy is known.

It is C, has the name of the driver's own library (``libnvidia-ml.so.1``), and unchanged nvidia-ml-py loads it, in this
process or in others. In this process, here with an hour of virtual time::

    library = load(build(folder))  # compiles; once per session is enough
    clock = VirtualClock()
    with library.running(h100(Square(60, 700, 1.0)), p100(), clock=clock) as machine:
        start_s = clock.monotonic()
        ...  # anything that calls pynvml
        clock.now_s += 3600
        machine.truth_j(start_s, clock.monotonic(), board=0)

Without ``clock`` it runs in real time. ``running`` takes boards, made by `h100`, `a100`, `v100`, `p100`, `rtx4090` or
`Board` with any of its attributes changed (faults, MIG slices, a frozen counter …), or one `Machine`; it may be used
any number of times, and outside of it the library says that no driver is loaded.

Another process, such as a training or another tool::

    machine = Machine((h100(Square(60, 700, 1.0)),), origin_s=time.perf_counter())
    subprocess.run(command, env={**os.environ, **environment(machine, build(folder), folder)})

There is an ``nvidia-smi`` on its ``PATH``, too, by which some tools look for a GPU. Waves: `Constant`, `Square`,
`Ramp`, `Trace`, `bursts`, `training`, or several of them, which add up. ``truth_j`` takes times of the monotonic clock.
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
    """Compile the library into a folder, unless it is there; return its path."""
    path = folder / SONAME
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{SONAME}.{os.getpid()}"
        subprocess.run(["cc", *_FLAGS, "-o", str(fresh), *map(str, _SOURCES), "-lm"], check=True)
        fresh.rename(path)
    return path


class Library:
    """The library in this process.

    Args:
        path: what `build` returned.
    """

    def __init__(self, path: Path) -> None:
        self._c = ctypes.CDLL(str(path))
        if not hasattr(ctypes.CDLL(SONAME), "standin_describe"):  # a driver's own came first
            pynvml.nvmlLib = self._c
            pynvml._nvmlGetFunctionPointer_cache.clear()  # noqa: SLF001
        self._c.standin_true_j.argtypes = [ctypes.c_int, ctypes.c_double, ctypes.c_double]
        self._c.standin_true_j.restype = ctypes.c_double
        self._c.standin_calls.restype = ctypes.c_longlong
        self._c.standin_set_clocks.argtypes = [_CLOCK, _CLOCK]
        self._clocks: list[Any] = []  # what C may call must live on

    @contextmanager
    def running(self, *boards: Board | Machine, clock: Clock | None = None) -> Iterator[Machine]:
        """Be a machine with these boards, in real time or in a clock's; the boards' time 0 is now.

        A `Machine` is taken as it is, its origin with it.
        """
        now_s = time.perf_counter() if clock is None else clock.monotonic()
        machine = Machine(tuple(each for each in boards if isinstance(each, Board)), now_s)
        machine = next((each for each in boards if isinstance(each, Machine)), machine)
        description = machine.description()
        self._set_clock(clock)
        try:
            if line := self._c.standin_describe(description.encode()):
                raise ValueError(f"not understood: {description.splitlines()[line - 1]}")
            yield machine
        finally:
            self._c.standin_remove()
            self._set_clock(None)

    def true_j(self, board: int, from_s: float, to_s: float) -> float:
        """True energy as C reckons it, between two times of the monotonic clock."""
        return float(self._c.standin_true_j(board, from_s, to_s))

    @property
    def calls(self) -> int:
        """Calls on boards so far."""
        return int(self._c.standin_calls())

    @property
    def users(self) -> int:
        """How many more `nvmlInit` than `nvmlShutdown` there have been."""
        return int(self._c.standin_users())

    def _set_clock(self, clock: Clock | None) -> None:
        functions: list[Callable[[], float]] = [clock.monotonic, clock.wall] if clock else []
        clocks = [_CLOCK(function) for function in functions] or [_NO_CLOCK] * 2
        self._c.standin_set_clocks(*clocks)
        self._clocks += clocks


_loaded: list[Library] = []


def load(path: Path) -> Library:
    """The library in this process, where there is only one: the first that was loaded."""
    if not _loaded:
        _loaded.append(Library(path))
    return _loaded[0]


def environment(machine: Machine, library: Path, folder: Path) -> dict[str, str]:
    """Variables with which another process finds a machine.

    Args:
        machine: its origin should be set: ``origin_s=time.perf_counter()`` for now.
        library: what `build` returned.
        folder: where the description and an ``nvidia-smi`` are written.

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
    """A folder with an ``nvidia-smi`` that says nothing of use, successfully."""
    script = folder / "bin" / "nvidia-smi"
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\necho 'NVIDIA-SMI of a stand-in'\n", encoding="ascii")
    script.chmod(0o755)
    return script.parent


def _before(first: str, variable: str) -> str:
    return os.pathsep.join(filter(None, (first, os.environ.get(variable))))
