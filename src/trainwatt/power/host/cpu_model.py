"""Processors without a counter: watts from utilisation, between those at rest and those at full load."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from trainwatt import validation
from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.errors import ArgumentError, SourceError
from trainwatt.power.device import Device, Found, Missing, Scope
from trainwatt.power.host import boot_id, cgroup, cpu_catalog, cpu_time, slurm

_SOURCE = "CPU model"
_PROCESSES = "an attribution to this process and its children by CPU time"
_IDLE_OF_TDP, _FULL_OF_TDP = 0.10, 0.75

# Truth over estimate in 9 of 10 cases: measured for the TDP (see power_line), the mean error for calibrated lines,
# judged for the rest.
_TDP_RANGE = (0.4, 1.5)
_VCPU_RANGE = (0.5, 1.5)
_STAND_IN_RANGE = (0.4, 1.8)
_UNKNOWN_RANGE = (0.3, 2.5)
_CALIBRATED_RANGE = (0.7, 1.4)


@dataclass(frozen=True, slots=True)
class PowerLine:
    """Power of all logical CPUs that the system shows, as a straight line over their utilisation.

    Attributes:
        idle_w, full_w: watts at rest and at full load.
        low, high: the true power lies between these multiples of the line's in about 9 of 10 cases.
        note: where the figures come from.
    """

    idle_w: float
    full_w: float
    low: float
    high: float
    note: str


@dataclass(frozen=True, slots=True)
class _Share:
    """The part of the machine that is charged: CPUs, their time, and what sets it apart from the whole."""

    cpus: float
    busy_s: cpu_time.BusyClock
    suffix: str = ""
    note: str = ""


def power_line(cpu: cpu_catalog.Processor) -> PowerLine:
    """The best public figures for a processor.

    By thermal design power (CodeCarbon's table) where the whole chip is ours: from 0.10 to 0.75 of it. Against RAPL
    on four machines (EPYC 8024P, Threadripper 1950X, Xeon E3-1240 v2, 2 x E5-2620 v3, 40 load levels from 10 to 100 %;
    CodeCarbon's measurements) truth over estimate is 1.00 in the median and 0.41 to 1.51 in 9 of 10 cases; a line from
    0.12 to 1.00 of the TDP has 0.75 and 0.32 to 1.15 there.

    By watts per logical CPU of the microarchitecture (Cloud Carbon Footprint, from SPECpower) in a virtual machine,
    whose name and number of cores say little of the chip, and for chips missing from the table. Those are watts of
    whole servers, so that the processor's part is rather smaller. A processor that neither knows gets the median of
    all microarchitectures and a wide range.

    Args:
        cpu: the processor.
    """
    rows = cpu_catalog.vcpu_watts()
    row = rows.get(cpu.microarchitecture or "")
    tdp_w = cpu_catalog.tdp_w(cpu.name)
    if tdp_w is not None and not (cpu.virtual and row):
        chips_w = tdp_w * cpu.sockets
        note = f"10 to 75 % of the thermal design power of {chips_w:g} W"
        return PowerLine(_IDLE_OF_TDP * chips_w, _FULL_OF_TDP * chips_w, *_TDP_RANGE, note)
    if row is None:
        own = [row for row in rows.values() if not row.stands_in]
        row = cpu_catalog.VcpuWatts(
            statistics.median(row.idle_w for row in own), statistics.median(row.full_w for row in own), ""
        )
        span, what = _UNKNOWN_RANGE, "an unknown processor, median of servers"
    elif row.stands_in:
        span, what = _STAND_IN_RANGE, f"{cpu.microarchitecture}, for which {row.stands_in} stands in"
    else:
        span, what = _VCPU_RANGE, f"{cpu.microarchitecture}"
    note = f"{row.idle_w:.2g} to {row.full_w:.2g} W per logical CPU: {what}"
    return PowerLine(row.idle_w * cpu.threads, row.full_w * cpu.threads, *span, note)


def calibrated(line: PowerLine, idle_w: float | None, full_w: float | None) -> PowerLine:
    """A line through the user's own figures; with both, the estimate errs by 25 % on the four machines above.

    Args:
        line: what is known without them.
        idle_w: watts at rest of all logical CPUs that the system shows; alone it leaves the full load as it is.
        full_w: watts at full load of them; alone it takes the power at rest along in proportion.

    Raises:
        ArgumentError: not positive, or more at rest than at full load.
    """
    validation.calibration(idle_w, full_w)
    if idle_w is not None and full_w is not None:
        return PowerLine(idle_w, full_w, *_CALIBRATED_RANGE, "idle and full-load watts given by the user")
    if full_w is not None:
        note = "full-load watts given by the user"
        return replace(line, idle_w=line.idle_w / line.full_w * full_w, full_w=full_w, note=note)
    if idle_w is not None:
        note = f"{line.note}; idle watts given by the user"
        return replace(line, idle_w=idle_w, full_w=max(line.full_w, idle_w), note=note)
    return line


class CpuEstimate:
    """A `Counter` of estimated joules: ``idle_w * t + (full_w - idle_w) * busy_s / cpus``.

    The system's count of busy CPU-seconds never forgets, so with power linear in utilisation the energy between any
    two readings is exact for the model, however seldom it is read. A curve, u^0.75, would err by 23 % instead of 25 %
    on the four machines of `power_line`, but its sum would depend on how often it is read.

    Args:
        device: what is estimated.
        idle_w: watts of the CPUs charged at rest.
        full_w: watts of them at full load.
        cpus: how many logical CPUs those are; a quota may make it a fraction.
        busy_s: their CPU time so far.
        clock: whose time passes.

    Raises:
        OSError, ValueError, psutil.Error: CPU time cannot be read here.
    """

    wraps_at_j = None
    max_gap_s = math.inf
    refresh_s = 0.01  # the kernel's usual tick

    def __init__(
        self,
        device: Device,
        *,
        idle_w: float,
        full_w: float,
        cpus: float,
        busy_s: cpu_time.BusyClock,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.device = device
        self.idle_w = idle_w
        self.full_w = full_w
        self._cpus = cpus
        self._busy_s = busy_s
        self._clock = clock
        self._start_busy_s = busy_s()
        self._start_s = self._last_s = clock.monotonic()
        self._counted_s = 0.0

    def joules(self) -> float:
        """Joules since construction.

        Raises:
            SourceError: CPU time could not be read this time.
        """
        try:
            busy_s = self._busy_s() - self._start_busy_s
        except (OSError, ValueError, psutil.Error) as error:
            raise SourceError(f"CPU time: {error}") from error
        now_s = self._clock.monotonic()
        self._count(busy_s, now_s)
        dynamic_j = (self.full_w - self.idle_w) * self._counted_s / self._cpus
        return self.idle_w * (now_s - self._start_s) + dynamic_j

    def watts(self) -> None:
        """Always None: there is no second sensor."""
        return

    def _count(self, busy_s: float, now_s: float) -> None:
        """Ticks of 10 ms may run ahead of the clock: what exceeds the time that has passed waits for the next read."""
        room_s = self._counted_s + self._cpus * (now_s - self._last_s)
        self._counted_s = max(self._counted_s, min(busy_s, room_s))
        self._last_s = now_s


def find(
    *,
    scope: Scope = "machine",
    idle_w: float | None = None,
    full_w: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
    environ: Mapping[str, str] = os.environ,
    proc_root: Path = Path("/proc"),
    sys_root: Path = Path("/sys"),
) -> Found:
    """An estimate for the processor, always: a poor one says so in its range.

    Args:
        scope: ``machine``: all CPUs that are ours, at rest and busy; a container's quota or a job's set of CPUs limits
            them. ``process``: this process and its children; a CPU-second of theirs costs ``full_w / cpus``, which is
            its dynamic power and its CPU's share of the idle power. Idle power of CPUs that nobody uses is not ours.
        idle_w: watts at rest of all CPUs that the system shows, for a better estimate.
        full_w: watts at full load of them.
        clock: whose time passes.
        environ: has SLURM's variables.
        proc_root: where procfs is mounted.
        sys_root: where sysfs is mounted.

    Raises:
        ArgumentError: a bad scope, ``idle_w`` or ``full_w``.
    """
    if scope not in ("machine", "process"):
        raise ArgumentError("scope", scope, "'machine' or 'process'")
    cpu = cpu_catalog.find(proc_root=proc_root)
    line = calibrated(power_line(cpu), idle_w, full_w)
    share = _our_cpus(cpu, clock, environ, proc_root, sys_root)
    if scope == "process":
        share = replace(_our_processes(share.cpus, clock), note=_joined(share.note, _PROCESSES))
    part = share.cpus / cpu.threads
    device = Device(
        id=f"cpu:{boot_id.boot_id(proc_root=proc_root)}{share.suffix}",
        kind="cpu",
        name=cpu.name,
        method="estimated",
        source="model by CPU utilisation" if scope == "machine" else "model by the CPU time of our processes",
        low=line.low,
        high=line.high,
        note=_joined(line.note, share.note),
    )
    rest_w = 0.0 if scope == "process" else line.idle_w * part
    try:
        estimate = CpuEstimate(
            device, idle_w=rest_w, full_w=line.full_w * part, cpus=share.cpus, busy_s=share.busy_s, clock=clock
        )
    except (OSError, ValueError, psutil.Error) as error:
        remedy = "" if scope == "process" else 'scope="process"'
        return Found(missing=(Missing("cpu", _SOURCE, f"CPU time is not known here: {error}", remedy, warn=True),))
    return Found((estimate,))


def _our_cpus(
    cpu: cpu_catalog.Processor, clock: Clock, environ: Mapping[str, str], proc_root: Path, sys_root: Path
) -> _Share:
    share, grant = _allowed_cpus(cpu, proc_root, sys_root), slurm.grant(environ)
    if grant is None or grant.cpus is None or grant.cpus >= share.cpus:
        return share
    note = f"{grant.cpus:g} of {cpu.threads} logical CPUs, granted by SLURM"
    return _Share(grant.cpus, cpu_time.ProcessTreeTime(clock=clock), f"/{grant.id}", note)


def _allowed_cpus(cpu: cpu_catalog.Processor, proc_root: Path, sys_root: Path) -> _Share:
    quota = cgroup.cpu_quota(proc_root=proc_root, sys_root=sys_root)
    allowed = cpu_time.own_cpus(proc_root=proc_root)
    number = min(len(allowed), cpu.threads) if allowed else cpu.threads
    if quota is not None and quota.cpus < number:
        return _Share(quota.cpus, quota.busy_s, f"/{quota.group_id}", f"{quota.cpus:g} of {cpu.threads} logical CPUs")
    if allowed and number < cpu.threads:
        busy_s = cpu_time.MachineTime(allowed, proc_root=proc_root)
        suffix = f"/cpus-{cpu_time.format_cpu_list(allowed)}"
        return _Share(number, busy_s, suffix, f"{number} of {cpu.threads} logical CPUs")
    return _Share(cpu.threads, cpu_time.MachineTime(proc_root=proc_root))


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _our_processes(cpus: float, clock: Clock) -> _Share:
    process = psutil.Process()
    suffix = f"/process-{process.pid}-{process.create_time():.0f}"
    return _Share(cpus, cpu_time.ProcessTreeTime(clock=clock), suffix)
