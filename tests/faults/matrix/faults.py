"""Faults that happen to a training at a given moment, and what must hold afterwards.

Each fault is a context: it is entered at the moment, in a callback of the user, and left when the training is over. No
function of trainwatt is replaced. What is broken is around it: streams, disk, drivers, libraries, the process itself.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import errno
import gc
import importlib.abc
import io
import logging
import os
import pickle
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from standins import nvml as standin
from standins.nvml import Code, Fault
from standins.slow_disk import ALL, SlowDisk

MOMENTS = ("before", "step", "evaluation", "last epoch")


@dataclass
class Situation:
    """Training that a fault happens to.

    Attributes:
        folder: working directory of the training.
        output_dir: folder of the run folders, within it.
        monitor: our callback, in a custom loop the tracker; None in the training without it.
        library: driver of the simulated GPUs.
        machine: the simulated GPUs.
        disk: disk that holds ``output_dir``.
        is_struck: True once the fault has happened.
    """

    folder: Path
    output_dir: Path
    monitor: Any
    library: standin.Library
    machine: standin.Machine
    disk: SlowDisk
    is_struck: bool = False

    @property
    def run_folder(self) -> Path:
        """The first run folder; the folder of all if there is none yet."""
        return next(iter(sorted(self.output_dir.glob("*"))), self.output_dir)

    def now_s(self) -> float:
        """Return the time on the boards' own scale."""
        return time.perf_counter() - self.machine.origin_s


Struck = Callable[[Situation], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Outcome that a fault must leave.

    Attributes:
        statuses: statuses that the summary may have.
        joules: "exact": as the GPUs have drawn; "bounded": no more than they can draw, and no less than until the
            fault; "any": nothing is known.
        is_recorded: True if the run folder must hold the same as the summary.
        raises: what may leave the training by the fault itself; None: nothing.
        only: moments at which it makes sense.
        custom_loop: True if only the user of a custom loop can cause it.
        warnings: most warnings that may be logged.
    """

    statuses: frozenset[str] = frozenset({"finished"})
    joules: str = "exact"
    is_recorded: bool = True
    raises: frozenset[str | None] = frozenset({None})
    only: tuple[str, ...] = MOMENTS
    custom_loop: bool = False
    warnings: int = 2


@dataclass(frozen=True)
class Case:
    """A fault by name."""

    strike: Struck
    expected: Expected = field(default_factory=Expected)


CASES: dict[str, Case] = {}


def fault(name: str, **expected: Any) -> Callable[[Callable[[Situation], Iterator[None]]], Struck]:
    """Register a fault under its name."""

    def register(function: Callable[[Situation], Iterator[None]]) -> Struck:
        strike = contextmanager(function)
        CASES[name] = Case(strike, Expected(**expected))
        return strike

    return register


# streams


class _Raises(io.TextIOBase):
    def write(self, text: str) -> int:
        raise RuntimeError("this stream cannot be written")


class _Bare:
    """Stream with the one method that ``print`` needs."""

    def write(self, text: str) -> None:
        pass


def _broken_pipe() -> Any:
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", buffering=1)


def _closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


def _ascii() -> Any:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")


STREAMS: dict[str, Callable[[], Any]] = {
    "closed": _closed,
    "a pipe without a reader": _broken_pipe,
    "a full disk": lambda: Path("/dev/full").open("w", buffering=1, encoding="utf-8"),  # noqa: SIM115  # left open
    "none": lambda: None,
    "an object with write alone": _Bare,
    "of ASCII alone": _ascii,
    "one that raises": _Raises,
}


def _stream_fault(stream: str, make: Callable[[], Any]) -> None:
    @fault(f"{stream} is {make_name(make)}")
    def strike(_: Situation) -> Iterator[None]:
        before = getattr(sys, stream)
        broken = make()
        setattr(sys, stream, broken)
        try:
            yield
        finally:
            setattr(sys, stream, before)
            with contextlib.suppress(Exception):
                broken.close()


def make_name(make: Callable[[], Any]) -> str:
    """Return the name of a broken stream."""
    return next(name for name, each in STREAMS.items() if each is make)


for _stream in ("stdout", "stderr"):
    for _make in STREAMS.values():
        _stream_fault(_stream, _make)


@fault("a handler of the log that raises")
def _handler(_: Situation) -> Iterator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("this handler cannot emit")

    handler, log = Handler(), logging.getLogger("trainwatt")
    log.addHandler(handler)
    # A warning, whatever it is of.
    try:
        yield
    finally:
        log.removeHandler(handler)


# the disk


@fault("the run folder is deleted")
def _deleted(at: Situation) -> Iterator[None]:
    shutil.rmtree(at.run_folder, ignore_errors=True)
    yield


@fault("the folder of all runs is deleted")
def _all_deleted(at: Situation) -> Iterator[None]:
    shutil.rmtree(at.output_dir, ignore_errors=True)
    yield


@fault("the run folder is renamed")
def _renamed(at: Situation) -> Iterator[None]:
    if at.run_folder != at.output_dir:
        at.run_folder.rename(at.folder / "renamed")
    yield


@fault("a file stands in place of the run folder", is_recorded=False)
def _file(at: Situation) -> Iterator[None]:
    folder = at.run_folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("not a folder")
    yield
    folder.unlink(missing_ok=True)


@fault("a folder stands in place of the summary", is_recorded=False)
def _summary_folder(at: Situation) -> Iterator[None]:
    folder = at.run_folder / "summary.json"
    folder.unlink(missing_ok=True)
    (folder / "full").mkdir(parents=True)
    yield


@fault("a named pipe stands in place of the events", is_recorded=False)
def _pipe(at: Situation) -> Iterator[None]:
    events = at.run_folder / "events.jsonl"
    events.parent.mkdir(parents=True, exist_ok=True)
    events.unlink(missing_ok=True)
    os.mkfifo(events)
    yield


def _disk_fault(name: str, strike: Callable[[SlowDisk], None], **expected: Any) -> None:
    @fault(name, **expected)
    def struck(at: Situation) -> Iterator[None]:
        strike(at.disk)
        try:
            yield
        finally:
            at.disk.heal()


_disk_fault("the disk is full", lambda disk: disk.fail(errno.ENOSPC), is_recorded=False)
_disk_fault("the disk is read-only", lambda disk: disk.fail(errno.EROFS), is_recorded=False)
_disk_fault("the disk fails", lambda disk: disk.fail(errno.EIO), is_recorded=False)
_disk_fault("the file handle is stale", lambda disk: disk.fail(errno.ESTALE, ALL), is_recorded=False)
_disk_fault("each write takes 0.1 s", lambda disk: disk.delay(0.1))
_disk_fault("the disk hangs for two seconds", lambda disk: _for_a_while(disk, disk.hang))
_disk_fault("the file server is gone for two seconds", lambda disk: _for_a_while(disk, partial(disk.hang, ALL)))


def _for_a_while(disk: SlowDisk, hang: Callable[[], None]) -> None:
    hang()
    heal = threading.Timer(2.0, disk.heal)
    heal.daemon = True
    heal.start()


@fault("the working directory is another")
def _chdir(at: Situation) -> Iterator[None]:
    elsewhere = at.folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    os.chdir(elsewhere)
    yield


@fault("the working directory is deleted")
def _no_cwd(at: Situation) -> Iterator[None]:
    gone = at.folder / "gone"
    gone.mkdir(exist_ok=True)
    os.chdir(gone)
    gone.rmdir()
    yield


@fault("no file descriptor is left", is_recorded=False, warnings=8)
def _descriptors(_: Situation) -> Iterator[None]:
    import resource  # noqa: PLC0415  # not on Windows

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# devices


def _board_fault(
    name: str, changes: Callable[[float], dict[str, Any]], *, lasts_s: float = 0.0, **expected: Any
) -> None:
    @fault(name, **expected)
    def strike(at: Situation) -> Iterator[None]:
        first, *others = at.machine.boards
        struck_s = at.now_s()
        broken = replace(at.machine, boards=(replace(first, **changes(at.now_s())), *others))
        at.library.change(broken)
        yield
        # The next training is on a driver that answers.
        time.sleep(max(0.0, lasts_s - (at.now_s() - struck_s)))


_board_fault("a GPU is lost", lambda s: {"faults": (Fault(Code.GPU_IS_LOST, from_s=s),)}, joules="bounded")
_board_fault(
    "a GPU answers with an unknown error", lambda s: {"faults": (Fault(Code.UNKNOWN, from_s=s),)}, joules="bounded"
)
_board_fault(
    "reading a GPU is forbidden", lambda s: {"faults": (Fault(Code.NO_PERMISSION, from_s=s),)}, joules="bounded"
)
_board_fault("a counter is reset", lambda s: {"counter_reset_s": s}, joules="bounded")
_board_fault("a counter is stuck", lambda s: {"counter_frozen_s": s}, joules="bounded")
for _name, _misread in (("0", 0.0), ("2^32-1 mJ", (2**32 - 1) / 1e3), ("2^64-1 mJ", (2**64 - 1) / 1e3)):
    _board_fault(
        f"a counter reads {_name} for a moment",
        lambda s, j=_misread: {
            "counter_misread_j": j,
            "counter_misread_from_s": s,
            "counter_misread_to_s": s + 0.12,
        },
        joules="bounded",
    )
_board_fault(
    "a GPU does not answer for two seconds",
    lambda s: {"hang_from_s": s, "hang_to_s": s + 2.0},
    lasts_s=2.1,
    joules="bounded",
)


@fault("psutil raises")
def _psutil(_: Situation) -> Iterator[None]:
    names = ("cpu_times", "cpu_percent", "virtual_memory", "cpu_count", "Process", "pid_exists")
    before = {name: getattr(psutil, name) for name in names}

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("psutil is broken")

    for name in names:
        setattr(psutil, name, broken)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(psutil, name, function)


# the clock, libraries and settings of the process


@fault("the wall clock jumps forward")
def _clock_forward(_: Situation) -> Iterator[None]:
    yield from _clock(200.0)


@fault("the wall clock jumps back")
def _clock_back(_: Situation) -> Iterator[None]:
    yield from _clock(-200.0)


def _clock(by_s: float) -> Iterator[None]:
    now = time.time
    time.time = lambda: now() + by_s
    try:
        yield
    finally:
        time.time = now


class _Missing(importlib.abc.MetaPathFinder):
    """Finder of no module of trainwatt's that is not loaded yet, as while a package is being upgraded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0].startswith("trainwatt"):
            raise ImportError(f"{name} is being upgraded")


@fault("the package is being upgraded", warnings=6)
def _upgraded(_: Situation) -> Iterator[None]:
    finder = _Missing()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@fault("warnings are errors")
def _warnings(_: Situation) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"(?!trainwatt)")
        yield


@fault("NumPy raises at each division by zero, overflow and underflow")
def _numpy(_: Situation) -> Iterator[None]:
    with np.errstate(all="raise"):
        yield


@fault("environment variables are mistyped")
def _environment(_: Situation) -> Iterator[None]:
    wrong = {
        "TRAINWATT_ZONE": "Utopia",
        "TRAINWATT_PUE": "one",
        "TRAINWATT_TARIFF": "-3",
        "TRAINWATT_OUTPUT_DIR": "\n",
        "TRAINWATT_LIGHTNING": "perhaps",
        "HOME": "/nowhere",
        "TMPDIR": "/nowhere",
        "TZ": "Moon/Crater",
        "COLUMNS": "wide",
    }
    before = {name: os.environ.get(name) for name in wrong}
    os.environ.update(wrong)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@fault("builtins.print is replaced by one that raises")
def _print(_: Situation) -> Iterator[None]:
    before = builtins.print

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("not here")

    builtins.print = broken
    try:
        yield
    finally:
        builtins.print = before


# the process


@fault("a child is forked, and ends as a program does")
def _fork(_: Situation) -> Iterator[None]:
    import atexit  # noqa: PLC0415

    with warnings.catch_warnings():
        # A process with threads is forked, as data loaders do.
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        try:
            atexit._run_exitfuncs()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    yield


@fault("the callback is copied and the copy is dropped")
def _copied(at: Situation) -> Iterator[None]:
    held = at.monitor
    if held is not None:
        copies = [copy.deepcopy(held), pickle.loads(pickle.dumps(held))]
        del copies
        gc.collect()
    yield


@fault("a failing thread beside the training")
def _thread(_: Situation) -> Iterator[None]:
    thread = threading.Thread(target=lambda: 1 / 0)
    hook, threading.excepthook = threading.excepthook, lambda _: None
    thread.start()
    thread.join()
    threading.excepthook = hook
    yield


class TrialPruned(Exception):  # noqa: N818  # as Optuna calls it
    """Exception by which a tuner ends a trial."""


def _raising(error: BaseException) -> Callable[[Situation], Iterator[None]]:
    def strike(_: Situation) -> Iterator[None]:
        raise error
        yield

    return strike


_inside = ("step", "evaluation", "last epoch")
fault("the training raises", statuses=frozenset({"failed"}), raises=frozenset({"ZeroDivisionError"}), only=_inside)(
    _raising(ZeroDivisionError("in the training"))
)
fault("the trial is pruned", statuses=frozenset({"stopped"}), raises=frozenset({"TrialPruned"}), only=_inside)(
    _raising(TrialPruned("by the tuner"))
)
fault("the program exits", statuses=frozenset({"interrupted"}), raises=frozenset({"SystemExit"}), only=_inside)(
    _raising(SystemExit(3))
)


@fault(
    "Ctrl-C", statuses=frozenset({"interrupted"}), raises=frozenset({"KeyboardInterrupt", "SystemExit"}), only=_inside
)
def _interrupt(_: Situation) -> Iterator[None]:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
    yield


# what a person hands in


class _Unconvertible:
    """Value that is no number, no text and no JSON."""

    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__


def _notes() -> dict[str, Any]:
    circular: dict[str, Any] = {"event": "mine"}
    circular["self"] = circular
    return {
        "a key that is no text": {"event": "mine", ("a", 1): 2},
        "a circular value": circular,
        "not a number": {"event": "mine", "value": float("nan"), "other": float("inf")},
        "a value that cannot be converted": {"event": "mine", "value": _Unconvertible()},
        "the name of an event of ours": {"event": "span", "phase": 3, "joules": "many"},
        "half of a surrogate pair": {"event": "mine", "text": "\ud800"},
        "a number of 5,000 digits": {"event": "mine", "value": 10**5000},
        "no kind": {"value": 1},
    }


def _note_fault(name: str) -> None:
    @fault(f"a note with {name}", custom_loop=True)
    def strike(at: Situation) -> Iterator[None]:
        if at.monitor is not None:
            at.monitor.log_event(_notes()[name])
        yield


for _note in _notes():
    _note_fault(_note)


def _metric_fault(name: str, value: Any) -> None:
    @fault(f"a metric that is {name}", custom_loop=True)
    def strike(at: Situation) -> Iterator[None]:
        if at.monitor is not None:
            at.monitor.metric("accuracy", value)
        yield


for _metric, _value in {
    "not a number": float("nan"),
    "infinite": float("inf"),
    "none": None,
    "a text": "high",
    "unconvertible": _Unconvertible(),
    "an array": np.zeros(3),
    "a complex number": 1j,
}.items():
    _metric_fault(_metric, _value)
