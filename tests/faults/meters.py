"""Faults of meters, each on a meter of known energy in virtual time: ``python -m tests.faults.meters`` prints a table.

A device is measured for a minute, next to another one. Its meter fails at 20 s, for 3 s unless the name of the fault
says otherwise. A fault is held if the energy stays within what the device can draw, and is the truth except for gaps,
which are in the device's record with their cause; if nothing is raised; if the other device is right; and if no kind of
failure is logged twice.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from standins import nvml as standin
from standins.linux_host import LinuxHost
from standins.nvml import Board, Code, Constant, Fault, h100, p100
from standins.powercap import AMD_RANGE_J, PowercapTree
from standins.waves import Square
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Device, Found, Meter, Reading
from trainwatt.power.host import cpu_model, rapl
from trainwatt.power.nvidia import discovery
from trainwatt.power.plug.meter_log import read_log
from trainwatt.power.plug.node_meter import own_meter
from trainwatt.testing import ConstantCounter, ScriptedCounter, VirtualClock, VirtualSampler

SECONDS, FROM_S, FOR_S = 60.0, 20.0, 3.0
WATTS, OTHER_W = 100.0, 50.0
CPU = Device("cpu:1", "cpu", "CPU", "measured", "a counter", max_w=400.0)
GPU = Device("gpu:1", "gpu", "GPU", "measured", "a sensor", max_w=480.0)
OTHER = Device("ram:1", "ram", "Other", "measured", "another counter")
# Of a reading before and after a gap, and of the update of a counter.
TOLERANCE = 0.03


class UnspeakableError(Exception):
    """Error that cannot even be printed."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Outcome(NamedTuple):
    """What was measured of a device with a fault, and what was drawn."""

    joules: float
    true_j: float
    most_j: float
    gap_s: float
    note: str
    other_j: float
    log: Sequence[str]

    def wrong(self, *, silent: bool = False) -> str:
        """Say what did not hold; empty if all did.

        Args:
            silent: True for a fault that costs nothing, so that nobody needs to know.
        """
        tolerance_j = TOLERANCE * self.true_j
        checks = {
            "below zero": self.joules >= 0,
            "above what the device can draw": self.joules <= self.most_j,
            "more than was drawn": self.joules <= self.true_j + tolerance_j,
            "less than was drawn outside of the gap": self.joules
            >= self.true_j * (1 - self.gap_s / SECONDS) - tolerance_j,
            "no gap": silent or self.gap_s > 0,
            "a gap longer than the run": self.gap_s <= SECONDS + 1,
            "no cause": silent or self.note,
            "other device": abs(self.other_j / (OTHER_W * SECONDS) - 1) < 1e-3,
            "log": len(self.log) <= 3 and len(set(self.log)) == len(self.log),
        }
        return ", ".join(name for name, holds in checks.items() if not holds)


@dataclass
class MeterFault:
    """Fault of a meter.

    Attributes:
        meter: the meter that has it.
        name: the fault.
        measure: measures with it; the argument is an empty folder.
        silent: True if it costs nothing, so that it need not be said.
    """

    meter: str
    name: str
    measure: Callable[[Path], Outcome] = field(repr=False)
    silent: bool = False

    def __str__(self) -> str:
        return f"{self.meter}: {self.name}"

    def wrong(self) -> str:
        """Try the fault, and say what did not hold; empty if all did."""
        with tempfile.TemporaryDirectory() as folder:
            return self.measure(Path(folder)).wrong(silent=self.silent)


class MovingClock(VirtualClock):
    """Virtual clock that lets files follow the time."""

    def __init__(self) -> None:
        self.moved: Callable[[float], object] = lambda _: None
        super().__init__()

    @property  # type: ignore[override]
    def now_s(self) -> float:
        return self._now_s

    @now_s.setter
    def now_s(self, now_s: float) -> None:
        self._now_s = now_s
        self.moved(now_s)


@contextmanager
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("trainwatt")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def measured(
    clock: VirtualClock,
    meter: Meter,
    true_j: float = WATTS * SECONDS,
    during: Callable[[VirtualSampler], object] = lambda sampler: sampler.advance(SECONDS),
) -> Outcome:
    """Measure a device next to another one."""
    sampler, begin_s = VirtualSampler(clock), clock.now_s
    with logged() as lines:
        subscription = sampler.subscribe([meter, ConstantCounter(clock, OTHER_W, device=OTHER)])
        during(sampler)
        subscription.wait_until_settled(clock.now_s, 0.5)
    end_s, name = begin_s + SECONDS, meter.device.id
    after, before = subscription.joules_at(end_s), subscription.joules_at(begin_s)
    return Outcome(
        after[name] - before[name],
        true_j,
        meter.device.bound_w * SECONDS,
        subscription.gaps_s.get(name, 0.0),
        subscription.notes.get(name, ""),
        after[OTHER.id] - before[OTHER.id],
        [line for line in lines if OTHER.name not in line],
    )


def in_window(time_s: float, for_s: float = FOR_S) -> bool:
    return FROM_S <= time_s < FROM_S + for_s


# ---- a counter and a power sensor that read, return and raise anything


def raising(error: BaseException) -> Callable[..., float]:
    def fail(*_: float) -> float:
        raise error

    return fail


def counter(value: Callable[[float, float], Any], *, refresh_s: float = 0.001, for_s: float = FOR_S, **changes: Any):
    """Counter that reads ``value(seconds since the start of the fault, joules)`` while the fault lasts."""

    def measure(_: Path) -> Outcome:
        clock = VirtualClock()
        begin_s = clock.now_s

        def misread(now_s: float, joules: float) -> Any:
            since_s = now_s - begin_s
            return value(since_s - FROM_S, joules) if in_window(since_s, for_s) else joules

        meter = ScriptedCounter(
            clock,
            lambda time_s: 5e4 + WATTS * (time_s - begin_s),
            refresh_s=refresh_s,
            max_gap_s=30.0,
            misread=misread,
            device=CPU,
            **changes,
        )
        return measured(clock, meter)

    return measure


@dataclass
class FaultyGauge:
    """Power sensor that returns ``fault(now)`` in place of its reading while the fault lasts."""

    clock: VirtualClock
    fault: Callable[[float], Any]
    for_s: float = FOR_S
    max_gap_s: float = 0.1
    device: Device = GPU

    def __post_init__(self) -> None:
        self.begin_s = self.clock.now_s

    def readings(self) -> Any:
        now_s = self.clock.now_s
        return self.fault(now_s) if in_window(now_s - self.begin_s, self.for_s) else [Reading(now_s, WATTS)]


def gauge(fault: Callable[[float], Any], *, for_s: float = FOR_S) -> Callable[[Path], Outcome]:
    def measure(_: Path) -> Outcome:
        clock = VirtualClock()
        return measured(clock, FaultyGauge(clock, fault, for_s))

    return measure


# ---- RAPL, whose files hold anything


def rapl_tree(change: Callable[[Path], object], restore: Callable[[Path], object] = lambda _: None, *, dies: int = 1):
    """Package whose counter's file is changed when the fault begins, and restored when it ends."""

    def measure(folder: Path) -> Outcome:
        clock = MovingClock()
        begin_s = clock.now_s
        wave = Square(WATTS, WATTS)
        tree = PowercapTree(folder, dies=dies, mirrored=dies > 1, children=(), wave=wave, range_j=AMD_RANGE_J)
        (meter,) = rapl.find(root=tree.root, boot_id="b").meters
        zone, state = tree.packages()[0], "before"

        def moved(now_s: float) -> None:
            nonlocal state
            since_s = now_s - begin_s
            for other in tree.packages()[1:]:
                other.write(since_s)
            if in_window(since_s):
                if state == "before":
                    state = "during"
                    change(zone.energy_file)
                return
            if state == "during":
                state = "after"
                restore(zone.energy_file)
            zone.write(since_s)

        clock.moved = moved
        return measured(clock, meter)

    return measure


def text(value: str | bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(value.encode() if isinstance(value, str) else value)


def removed(file: Path) -> None:
    os.truncate(file, 0)
    file.unlink()


def made_a_folder(file: Path) -> None:
    removed(file)
    file.mkdir()


def made_a_file(file: Path) -> None:
    if file.is_dir():
        file.rmdir()
    file.touch()


# ---- an NVIDIA driver


def nvml(board: Callable[..., Board], **changes: Any) -> Callable[[Path], Outcome]:
    """GPU whose driver fails."""
    names = {"reported_count", "wall_step_at_s", "wall_step_s"} & changes.keys()
    machine_changes = {name: changes.pop(name) for name in names}

    def measure(_: Path) -> Outcome:
        clock = VirtualClock()
        machine = standin.Machine(
            (board(Constant(WATTS), noise_w=0.0, **changes),), origin_s=clock.now_s, **machine_changes
        )
        with library().running(machine, clock=clock), tempfile.TemporaryDirectory() as empty:
            found: Found = discovery.find(clock=clock, environ={}, proc_root=Path(empty))
            (meter,) = found.meters
            return measured(clock, meter)

    return measure


@functools.cache
def library() -> standin.Library:
    folder = Path(tempfile.gettempdir()) / f"standin-nvml-{os.getuid()}-{os.getpid()}"
    try:
        return standin.load(standin.build(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- the model of a CPU


def model_of(find: Callable[[LinuxHost, VirtualClock], Found], spoil: Callable[[LinuxHost, float], object], work: Any):
    """CPU of 100 W whose files are spoilt while the fault lasts."""

    def measure(folder: Path) -> Outcome:
        clock = MovingClock()
        begin_s = clock.now_s
        host = LinuxHost(folder, cpus=4)
        work(host, 0.0)
        (meter,) = find(host, clock).meters
        clock.moved = lambda now_s: (spoil if in_window(now_s - begin_s) else work)(host, now_s - begin_s)
        return measured(clock, meter)

    return measure


def machine(spoil: Callable[[Path], object]) -> Callable[[Path], Outcome]:
    """Model by ``/proc/stat``: 50 W idle, 150 W at full load, and half of the CPUs are busy."""
    return model_of(
        lambda host, clock: cpu_model.find(
            idle_w=50.0, full_w=150.0, clock=clock, environ={}, proc_root=host.proc_root, sys_root=host.sys_root
        ),
        lambda host, _: spoil(host.proc_root / "stat"),
        _work,
    )


def _work(host: LinuxHost, since_s: float) -> None:
    stat = host.proc_root / "stat"
    if stat.is_dir():
        stat.rmdir()
    host._busy_s = [500.0 + since_s / 2] * 4
    host.work(0.0)


def group(spoil: Callable[[Path], object]) -> Callable[[Path], Outcome]:
    """Model by a container's control group of two of four CPUs: 50 W at half load, of 100 W."""

    def work(host: LinuxHost, since_s: float) -> None:
        host.write_cgroup("cpu.max", "200000 100000\n")
        host.write_cgroup("cgroup.procs", f"{os.getpid()}\n")
        if (folder := host.sys_root / "fs/cgroup/cpu.stat").is_dir():
            folder.rmdir()
        host.write_cgroup("cpu.stat", f"usage_usec {(900 + since_s) * 1e6:.0f}\n".ljust(200, "\n"))

    return model_of(
        lambda host, clock: cpu_model.find(
            idle_w=100.0, full_w=300.0, clock=clock, environ={}, proc_root=host.proc_root, sys_root=host.sys_root
        ),
        lambda host, _: spoil(host.sys_root / "fs/cgroup/cpu.stat"),
        work,
    )


def without_procfs(folder: Path) -> Outcome:
    """Model by psutil, which raises while there is no /proc; idle and full load are alike, as the load is not known."""
    clock = MovingClock()
    begin_s, procfs = clock.now_s, psutil.PROCFS_PATH
    found = cpu_model.find(
        idle_w=WATTS, full_w=WATTS, clock=clock, environ={}, proc_root=folder / "none", sys_root=folder / "none"
    )
    (meter,) = found.meters

    def moved(now_s: float) -> None:
        psutil.PROCFS_PATH = str(folder / "none") if in_window(now_s - begin_s) else procfs

    clock.moved = moved
    try:
        return measured(clock, meter)
    finally:
        psutil.PROCFS_PATH = procfs


# ---- a meter at the plug


def wall(spoil: Callable[[float, float], float | None], *, energy: bool) -> Callable[[Path], Outcome]:
    """Log of a wall meter with a row per second: ``spoil(time, value)`` is in it instead; None: no row."""

    def measure(folder: Path) -> Outcome:
        rows = ["time_s,Wh" if energy else "time_s,watts"]
        for second in range(int(SECONDS) + 1):
            true = 1000 + second * WATTS / 3600 if energy else WATTS
            value = spoil(second, true) if in_window(second) else true
            if value is not None:
                rows.append(f"{second},{value!r}")
        file = folder / "wall.csv"
        file.write_text("\n".join(rows))
        with logged() as lines:
            log = read_log(file, 1.7e9)
        joules = log.between(1.7e9, 1.7e9 + SECONDS)
        return Outcome(joules, WATTS * SECONDS, 2e5 * SECONDS, FOR_S, " ".join(lines), OTHER_W * SECONDS, lines)

    return measure


def node(value: str) -> Callable[[Path], Outcome]:
    """The node's own meter, read each second; a reading that fails is left out."""

    def measure(folder: Path) -> Outcome:
        file = folder / "class/hwmon/hwmon1/power1_average"
        file.parent.mkdir(parents=True)
        (folder / "class/hwmon/hwmon0").mkdir()
        (folder / "class/hwmon/hwmon0/name").mkdir()
        (file.parent / "name").write_text("power_meter\n")
        file.write_text(f"{WATTS * 1e6:.0f}\n")
        meter, watts, note = own_meter(folder), [], ""
        for second in range(int(SECONDS)):
            file.write_text(value if in_window(second) else f"{WATTS * 1e6:.0f}\n")
            try:
                watts.append(meter.watts())
            except SourceError as error:
                note = str(error)
        joules = sum(watts) / len(watts) * SECONDS
        gap_s = SECONDS - len(watts)
        return Outcome(joules, WATTS * SECONDS, 2e5 * SECONDS, gap_s, note, OTHER_W * SECONDS, ())

    return measure


# ---- the table

ERRORS: dict[str, BaseException] = {
    "ZeroDivisionError": ZeroDivisionError("division by zero"),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError("maximum recursion depth exceeded"),
    "psutil.AccessDenied": psutil.AccessDenied(1),
    "PermissionError": PermissionError(13, "Permission denied"),
    "an error without a text": UnspeakableError(),
    "SystemExit": SystemExit(3),
    "SourceError": SourceError("timeout"),
    "SourceLostError": SourceLostError("fallen off the bus"),
}
VALUES: dict[str, Any] = {
    "0": 0.0,
    "-1": -1.0,
    "NaN": math.nan,
    "infinity": math.inf,
    "2^32 - 1": 2.0**32 - 1,
    "2^64 - 1": 2.0**64 - 1,
    "10^400": 10**400,
    "None": None,
    "a text": "12 J",
}
TEXTS: dict[str, str | bytes] = {
    "empty": "",
    "a word": "abc\n",
    "negative": "-5\n",
    "zero": "0\n",
    "2^32 - 1": f"{2**32 - 1}\n",
    "2^64 - 1": f"{2**64 - 1}\n",
    "nan": "nan\n",
    "bytes that are no UTF-8": b"\xff\xfe\x00",
    "half of a number": "12\n",
    "two megabytes": "9" * 2_000_000,
}
STATS: dict[str, str | bytes] = {
    "empty": "",
    "a word": "cpu abc\n",
    "too few fields": "cpu  1 2\n",
    "zeros": "cpu  0 0 0 0 0 0 0 0 0 0\n",
    "2^64 - 1": f"cpu  {2**64 - 1} 0 0 5000 0 0 0 0 0 0\n",
    "negative": "cpu  -9 0 0 5000 0 0 0 0 0 0\n",
    "bytes that are no UTF-8": b"\xff\xfe\x00",
}


def _counters() -> Iterator[MeterFault]:
    for name, value in VALUES.items():
        yield MeterFault("counter", f"reads {name}", counter(lambda *_, value=value: value))
        yield MeterFault("slow counter", f"reads {name}", counter(lambda *_, value=value: value, refresh_s=0.1))
    for name, error in ERRORS.items():
        yield MeterFault("counter", f"raises {name}", counter(raising(error)))
        yield MeterFault("counter", f"raises {name} for 35 s", counter(raising(error), for_s=35.0))
    last = math.inf
    yield MeterFault("counter", "jumps by 100 kJ", counter(lambda _, j: j + 1e5, for_s=last))
    yield MeterFault("counter", "jumps by 100 kJ and comes back", counter(lambda _, j: j + 1e5))
    yield MeterFault("counter", "falls by 10 kJ", counter(lambda _, j: j - 1e4, for_s=last))
    yield MeterFault("counter", "falls by 10 kJ and comes back", counter(lambda _, j: j - 1e4))
    yield MeterFault("counter", "counts 10^9 W", counter(lambda s, j: j + 1e9 * s))
    yield MeterFault("counter", "counts 10^9 W from then on", counter(lambda s, j: j + 1e9 * s, for_s=last))
    yield MeterFault("counter", "stands still for 10 s", counter(lambda s, j: round(j - WATTS * s), for_s=10.0))
    yield MeterFault("counter", "stands still from then on", counter(lambda s, j: round(j - WATTS * s), for_s=last))
    yield MeterFault("counter", "reads 0 once", counter(lambda *_: 0.0, for_s=1.0))
    yield MeterFault("counter", "raises in its power sensor", counter(lambda _, j: j, sensor_w="x"), silent=True)


def _gauges() -> Iterator[MeterFault]:
    watts = {"NaN": math.nan, "infinity": math.inf, "-1": -1.0, "10^9": 1e9, "2^32 - 1 mW": (2**32 - 1) / 1e3}
    for name, value in watts.items():
        yield MeterFault("power sensor", f"reads {name} W", gauge(lambda now_s, value=value: [Reading(now_s, value)]))
    times = {"in an hour": 3600.0, "in half a second": 0.5, "of an hour ago": -3600.0, "that is NaN": math.nan}
    for name, off_s in times.items():
        at = gauge(lambda now_s, off_s=off_s: [Reading(now_s + off_s, WATTS)], for_s=5.0)
        yield MeterFault("power sensor", f"dates its readings at a time {name}", at)
    yield MeterFault("power sensor", "dates its readings at time 0", gauge(lambda _: [Reading(0.0, WATTS)], for_s=5.0))
    yield MeterFault("power sensor", "has no reading", gauge(lambda _: (), for_s=5.0))
    yield MeterFault("power sensor", "has the same reading", gauge(lambda _: [Reading(1010.0, WATTS)], for_s=5.0))
    yield MeterFault("power sensor", "returns None", gauge(lambda _: None))
    yield MeterFault("power sensor", "returns numbers", gauge(lambda _: [100.0]))
    yield MeterFault("power sensor", "returns texts", gauge(lambda now_s: [(now_s, "100 W")]))
    for name, error in ERRORS.items():
        yield MeterFault("power sensor", f"raises {name}", gauge(raising(error)))
    yield MeterFault("power sensor", "raises MemoryError for 35 s", gauge(raising(MemoryError()), for_s=35.0))


def _rapl() -> Iterator[MeterFault]:
    for name, value in TEXTS.items():
        yield MeterFault("RAPL", f"reads {name}", rapl_tree(text(value)))
        yield MeterFault("RAPL, mirrored", f"reads {name}", rapl_tree(text(value), dies=2))
    yield MeterFault("RAPL", "vanishes and comes back", rapl_tree(removed, made_a_file))
    yield MeterFault("RAPL", "is a folder", rapl_tree(made_a_folder, made_a_file))
    yield MeterFault("RAPL", "stands still for 3 s", rapl_tree(lambda _: None), silent=True)


def _nvml() -> Iterator[MeterFault]:
    to_s, last = FROM_S + FOR_S, math.inf
    for name, value in {"0": 0.0, "2^32 - 1 mJ": (2**32 - 1) / 1e3, "2^64 - 1 mJ": 2.0**64 / 1e3}.items():
        misread = {"counter_misread_j": value, "counter_misread_from_s": FROM_S, "counter_misread_to_s": to_s}
        yield MeterFault("NVML counter", f"reads {name}", nvml(h100, **misread))
    for code in (Code.TIMEOUT, Code.UNKNOWN, Code.NO_PERMISSION, Code.UNINITIALIZED, Code.GPU_IS_LOST):
        faults = (Fault(code, from_s=FROM_S, to_s=to_s),)
        yield MeterFault("NVML counter", f"fails with {code.name}", nvml(h100, faults=faults))
        yield MeterFault("NVML samples", f"fails with {code.name}", nvml(p100, faults=faults))
    lost = (Fault(Code.GPU_IS_LOST, from_s=FROM_S, to_s=FROM_S + 20),)
    yield MeterFault("NVML counter", "is lost for 20 s", nvml(h100, faults=lost))
    yield MeterFault("NVML counter", "stands still", nvml(h100, counter_frozen_s=FROM_S), silent=True)
    yield MeterFault("NVML counter", "is reset", nvml(h100, counter_reset_s=FROM_S))
    for name, watts in {"2^32 - 1 mW": 2**32 / 1e3, "10^6 W": 1e6}.items():
        misread = {"power_misread_w": watts, "power_misread_from_s": FROM_S, "power_misread_to_s": to_s}
        yield MeterFault("NVML samples", f"read {name}", nvml(p100, **misread))
        yield MeterFault("NVML power", f"reads {name}", nvml(p100, samples=0, **misread))
        sensor = nvml(h100, power_misread_w=watts, power_misread_from_s=FROM_S, power_misread_to_s=last)
        yield MeterFault("NVML counter", f"has a power sensor that reads {name}", sensor, silent=True)
    for name, ahead_s in {"of an hour ago": -3600.0, "in an hour": 3600.0, "0": -1e9}.items():
        yield MeterFault("NVML samples", f"are dated {name}", nvml(p100, samples_ahead_s=ahead_s), silent=True)
    for name, step_s in {"forward": 600.0, "back": -600.0}.items():
        stepped = nvml(p100, wall_step_at_s=FROM_S, wall_step_s=step_s)
        yield MeterFault("NVML samples", f"are from before the wall clock was set {name}", stepped, silent=True)
    for name, limit_w in {"0": 0.0, "2^32 - 1 mW": (2**32 - 1) / 1e3, "1 mW": 1e-3}.items():
        misread = {"counter_misread_j": 1.5e6, "counter_misread_from_s": FROM_S, "counter_misread_to_s": to_s}
        limited = nvml(h100, power_limit_w=limit_w, **misread)
        yield MeterFault("NVML counter", f"jumps by 500 kJ on a GPU with a power limit of {name}", limited)
    yield MeterFault("NVML driver", "reports 2^32 - 1 GPUs", nvml(h100, reported_count=-1), silent=True)
    yield MeterFault("NVML driver", "has a name that is no UTF-8", nvml(h100, name="H\udcff\udcfe"), silent=True)
    yield MeterFault("NVML driver", "has a UUID that is no UTF-8", nvml(h100, uuid="GPU-\udcff"), silent=True)


def _models() -> Iterator[MeterFault]:
    for name, value in STATS.items():
        yield MeterFault("CPU model, /proc/stat", f"reads {name}", machine(text(value)))
    yield MeterFault("CPU model, /proc/stat", "vanishes", machine(lambda file: file.exists() and removed(file)))
    folder = machine(lambda file: file.is_dir() or made_a_folder(file))
    yield MeterFault("CPU model, /proc/stat", "is a folder", folder)
    usages = {"a word": "usage_usec x\n", "negative": "usage_usec -1\n", "2^64 - 1": f"usage_usec {2**64 - 1}\n"}
    for name, value in {**usages, "empty": "", "zero": "usage_usec 0\n", "another file": "user_usec 5\n"}.items():
        yield MeterFault("CPU model, control group", f"reads {name}", group(text(value)))
    yield MeterFault("CPU model, psutil", "has no /proc", without_procfs)


def _plugs() -> Iterator[MeterFault]:
    for name, value in {"-100": -100.0, "10^9": 1e9, "infinity": math.inf}.items():
        yield MeterFault("wall meter", f"shows {name} W", wall(lambda *_, value=value: value, energy=False))
    yield MeterFault("wall meter", "shows NaN", wall(lambda *_: math.nan, energy=False), silent=True)
    for name, value in {"0": 0.0, "-5": -5.0, "10^9": 1e9}.items():
        yield MeterFault("wall meter", f"has counted {name} Wh", wall(lambda *_, value=value: value, energy=True))
    yield MeterFault("wall meter", "has no rows", wall(lambda *_: None, energy=True), silent=True)
    for value in ("", "nan", "inf", "-1", "0", "1e18", "abc", "\0\0"):
        yield MeterFault("ACPI meter", f"reads {value!r}", node(value))


FAULTS: tuple[MeterFault, ...] = (*_counters(), *_gauges(), *_rapl(), *_nvml(), *_models(), *_plugs())


def main() -> None:
    """Try all faults, and print those that did not hold, and the counts."""
    held: dict[str, list[bool]] = {}
    for fault in FAULTS:
        try:
            wrong = fault.wrong()
        except BaseException as error:  # noqa: BLE001  # a fault that gets out is what is looked for
            wrong = f"raised {type(error).__name__}"
        held.setdefault(fault.meter, []).append(not wrong)
        if wrong:
            sys.stdout.write(f"{fault.meter} {fault.name}: {wrong}\n")
    for meter, results in held.items():
        sys.stdout.write(f"{meter:26} {sum(results):4} of {len(results)} held\n")
    sys.stdout.write(f"{'all':26} {sum(map(sum, held.values())):4} of {len(FAULTS)} held\n")


if __name__ == "__main__":
    main()
