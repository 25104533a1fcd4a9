"""Power model of CPUs without a counter: linear in utilisation, between idle and full load."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trainwatt import validation
from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.errors import ArgumentError, SourceError
from trainwatt.power.device import Device, Found, Missing, Scope
from trainwatt.power.host import boot_id, cgroup, cpu_catalog, cpu_time, slurm

_SOURCE = "CPU model"
_PROCESSES = "share of this process and its children by CPU time"
# The kernel counts CPU time in ticks, and grants a quota in periods of 0.1 s.
_AHEAD_S = 0.1
_LATE_S = 1.0
_IDLE_OF_TDP, _FULL_OF_TDP = 0.10, 0.75

# 90% CI of the true power as a multiple of the estimate: measured for the TDP (see power_line), from the mean error for
# calibrated lines, a judgement for the rest.
_TDP_RANGE = (0.4, 1.5)
_PART_RANGE = (0.3, 2.0)
_GUESSED_PART_RANGE = (0.2, 3.0)
_VCPU_RANGE = (0.5, 1.5)
_STAND_IN_RANGE = (0.4, 1.8)
_UNKNOWN_RANGE = (0.3, 2.5)
_CALIBRATED_RANGE = (0.7, 1.4)


@dataclass(frozen=True, slots=True)
class PowerLine:
    """Power of all logical CPUs that the system shows, as a linear function of their utilisation.

    Attributes:
        idle_w, full_w: Watts when idle and at full load.
        low, high: Limits of the true power, as multiples of the estimate: a 90% CI.
        note: Source of the figures.
    """

    idle_w: float
    full_w: float
    low: float
    high: float
    note: str


@dataclass(frozen=True, slots=True)
class _Share:
    """Part of the machine's CPUs that is charged to us.

    Attributes:
        cpus: Number of logical CPUs; a quota may make it a fraction.
        busy_s: Returns the CPU time so far on them, or of our processes.
        most_cpus: Number of logical CPUs that our processes can use at once: that of the machine if a grant is not
            enforced; None: ``cpus``.
        suffix: Suffix of the device id that distinguishes the part from the whole.
        note: Remark for the user.
    """

    cpus: float
    busy_s: cpu_time.BusyClock
    suffix: str = ""
    note: str = ""
    most_cpus: float | None = None


def power_line(cpu: cpu_catalog.CpuInfo) -> PowerLine:
    """Return the power of a CPU, from the best public figures for it.

    If the thermal design power (TDP) is in CodeCarbon's table, the line goes from 0.10 to 0.75 of it. This was compared
    with RAPL on four machines (EPYC 8024P, Threadripper 1950X, Xeon E3-1240 v2, 2 x E5-2620 v3, 40 load levels from 10
    to 100 %; CodeCarbon's measurements). The ratio of true to estimated power is 1.00 in the median, 90% CI 0.41 to
    1.51.
    For a line from 0.12 to 1.00 of the TDP, it is 0.75, 90% CI 0.32 to 1.15.

    Of a chip of which the system shows only some CPUs, as in most virtual machines, those are charged, whatever the
    number of sockets: a virtual machine may show each CPU as a socket.

    For a chip that is not in the table, the watts per logical CPU of its microarchitecture are used (Cloud Carbon
    Footprint, from SPECpower). These are preferred in a virtual machine, whose CPU name and number of cores say little
    about the chip. They are watts of whole servers, so the power of the CPU alone is rather lower. A CPU in neither
    table gets the median of all microarchitectures, with a wide range.

    Args:
        cpu: The CPU.
    """
    rows = cpu_catalog.vcpu_watts()
    row = rows.get(cpu.microarchitecture or "")
    tdp_w = cpu_catalog.tdp_w(cpu.name)
    if tdp_w is not None and not (cpu.virtual and row):
        return _line_of_chips(cpu, tdp_w)
    if row is None:
        row = _median_server(rows.values())
        span, what = _UNKNOWN_RANGE, "unknown CPU, median of servers"
    elif row.stands_in:
        span, what = _STAND_IN_RANGE, f"{cpu.microarchitecture}, approximated by {row.stands_in}"
    else:
        span, what = _VCPU_RANGE, f"{cpu.microarchitecture}"
    note = f"{row.idle_w:.2g} to {row.full_w:.2g} W per logical CPU: {what}"
    return PowerLine(row.idle_w * cpu.threads, row.full_w * cpu.threads, *span, note)


def _line_of_chips(cpu: cpu_catalog.CpuInfo, tdp_w: float) -> PowerLine:
    if not cpu.shows_part:
        chips_w, span, of = tdp_w * cpu.sockets, _TDP_RANGE, ""
    else:
        shown = (float(cpu.chip_threads), True) if cpu.chip_threads else None
        threads, known = shown or cpu_catalog.chip_threads(cpu.name, tdp_w)
        chips_w, span = tdp_w * cpu.threads / threads, _PART_RANGE if known else _GUESSED_PART_RANGE
        of = f": {cpu.threads} of {'' if known else 'about '}{threads:g} logical CPUs of a chip of {tdp_w:g} W"
    note = f"10 to 75 % of the thermal design power of {chips_w:.4g} W{of}"
    return PowerLine(_IDLE_OF_TDP * chips_w, _FULL_OF_TDP * chips_w, *span, note)


def _median_server(rows: Iterable[cpu_catalog.VcpuWatts]) -> cpu_catalog.VcpuWatts:
    """Return the median of the microarchitectures that have figures of their own."""
    own = [row for row in rows if not row.stands_in]
    return cpu_catalog.VcpuWatts(
        statistics.median(row.idle_w for row in own), statistics.median(row.full_w for row in own), ""
    )


def calibrated(line: PowerLine, idle_w: float | None, full_w: float | None) -> PowerLine:
    """Replace a line's idle and full-load power by the user's own figures.

    With both, the mean error is 25 % on the four machines of `power_line`.

    Args:
        line: Power without the user's figures.
        idle_w: Idle power in watts of all logical CPUs that the system shows. If it is given without ``full_w``, the
            full-load power remains as it is.
        full_w: Their power at full load in watts. If it is given without ``idle_w``, the idle power is scaled by the
            same factor.

    Raises:
        ArgumentError: A figure is not positive, or the idle power exceeds the power at full load.
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
    """`Counter` of estimated joules: ``idle_w * t + (full_w - idle_w) * busy_s / cpus``.

    The system counts busy CPU-seconds cumulatively. As the power is linear in the utilisation, the energy between two
    readings follows exactly from the model, at any sampling interval. With the curve u^0.75, the mean error on the four
    machines of `power_line` would be 23 % instead of 25 %, but the energy would depend on the sampling interval.

    CPU time that is ahead of the elapsed time, as ticks may be, is counted with the next reading, up to 0.1 s per CPU.
    A count that the CPUs cannot have reached, or that falls, is refused: if it returns, nothing is lost; if it goes on
    by itself, it is the new origin, and the time between has the utilisation after it.

    Args:
        device: Device that is estimated.
        idle_w: Idle power in watts of the CPUs that are charged.
        full_w: Their power at full load in watts.
        cpus: Number of these logical CPUs; a quota may make it a fraction.
        busy_s: Returns their CPU time so far.
        most_cpus: Number of logical CPUs that can be busy at once, if it is more; all of their time counts.
        clock: Source of the time.

    Raises:
        Exception: CPU time cannot be read on this machine.
    """

    wraps_at_j = None
    max_gap_s = math.inf
    # The kernel's usual tick.
    refresh_s = 0.01

    def __init__(
        self,
        device: Device,
        *,
        idle_w: float,
        full_w: float,
        cpus: float,
        busy_s: cpu_time.BusyClock,
        most_cpus: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.device = device
        self.idle_w = idle_w
        self.full_w = full_w
        self._cpus = cpus
        self._busy_s = busy_s
        self._most_cpus = max(cpus, most_cpus or cpus)
        self._clock = clock
        self._busy_until_s = busy_s()
        self._start_s = self._last_s = clock.monotonic()
        self._counted_s = self._ahead_s = 0.0
        # Last count that was refused, and its time.
        self._refused: tuple[float, float] | None = None

    def joules(self) -> float:
        """Return the joules since construction.

        Raises:
            SourceError: CPU time could not be read, or cannot be right; a later read may succeed.
        """
        try:
            busy_s = float(self._busy_s())
        # Without procfs, psutil raises errors of many kinds.
        except Exception as error:
            raise SourceError(f"CPU time: {error}") from error
        now_s = self._clock.monotonic()
        self._count(busy_s, now_s)
        dynamic_j = (self.full_w - self.idle_w) * self._counted_s / self._cpus
        return self.idle_w * (now_s - self._start_s) + dynamic_j

    def watts(self) -> None:
        """Return None: there is no second sensor."""
        return

    def _count(self, busy_s: float, now_s: float) -> None:
        """Add the CPU time since the last reading, up to the elapsed time.

        Raises:
            SourceError: The CPUs cannot have used it.
        """
        if not self._is_possible(busy_s - self._busy_until_s, now_s - self._last_s):
            self._restart(busy_s, now_s)
        self._refused = None
        waiting_s = self._ahead_s + max(0.0, busy_s - self._busy_until_s)
        counted_s = min(waiting_s, self._most_cpus * (now_s - self._last_s))
        self._counted_s += counted_s
        self._ahead_s = min(waiting_s - counted_s, _AHEAD_S * self._most_cpus)
        self._busy_until_s = max(self._busy_until_s, busy_s)
        self._last_s = now_s

    def _is_possible(self, busy_s: float, elapsed_s: float) -> bool:
        # Processes that are found late bring some time along.
        return -_AHEAD_S * self._most_cpus <= busy_s <= self._most_cpus * (elapsed_s + _LATE_S)

    def _restart(self, busy_s: float, now_s: float) -> None:
        """Continue from the last count that was refused, if this one goes on from it.

        Raises:
            SourceError: It does not; the next one decides what it was.
        """
        refused, self._refused = self._refused, (busy_s, now_s)
        if refused is None or not (elapsed_s := now_s - refused[1]) > 0:
            raise SourceError(f"CPU time: went from {self._busy_until_s:.6g} s to {busy_s:.6g} s")
        if not self._is_possible(busy_s - refused[0], elapsed_s):
            raise SourceError(f"CPU time: went from {refused[0]:.6g} s to {busy_s:.6g} s")
        used = (busy_s - refused[0]) / elapsed_s
        self._busy_until_s = busy_s - used * (now_s - self._last_s)


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
    """Return an estimate for any CPU; the poorer the estimate, the wider its range.

    Args:
        scope: ``machine``: all CPUs that we may use, idle and busy, as limited by a container's quota or a job's set of
            CPUs. ``process``: this process and its children. Each of their CPU-seconds costs ``full_w / cpus`` joules:
            dynamic energy, and one CPU's share of the idle energy. Idle power of unused CPUs is not charged.
        idle_w: Idle power in watts of all CPUs that the system shows, for a better estimate.
        full_w: Their power at full load in watts.
        clock: Source of the time.
        environ: Environment variables, for those of SLURM.
        proc_root: Mount point of procfs.
        sys_root: Mount point of sysfs.

    Raises:
        ArgumentError: ``scope``, ``idle_w`` or ``full_w`` is invalid.
    """
    if scope not in ("machine", "process"):
        raise ArgumentError("scope", scope, "'machine' or 'process'")
    cpu = cpu_catalog.find(proc_root=proc_root)
    line = calibrated(power_line(cpu), idle_w, full_w)
    share = _our_cpus(cpu, clock, environ, proc_root, sys_root)
    missing: tuple[Missing, ...] = ()
    if scope == "process":
        share = _our_processes(share, cpu, clock, proc_root, sys_root)
    elif unlimited := _unlimited(share, cpu, environ, proc_root):
        share, missing = replace(share, note=f"{unlimited.source}: {unlimited.why}"), (unlimited,)
    part = share.cpus / cpu.threads
    device = Device(
        id=f"cpu:{boot_id.boot_id(proc_root=proc_root)}{share.suffix}",
        kind="cpu",
        name=cpu.name,
        method="estimated",
        source="model by CPU utilisation" if scope == "machine" else "model by the CPU time of our processes",
        low=line.low,
        high=line.high,
        cause=_SOURCE,
        note=_joined(line.note, share.note),
    )
    rest_w = 0.0 if scope == "process" else line.idle_w * part
    try:
        estimate = CpuEstimate(
            device,
            idle_w=rest_w,
            full_w=line.full_w * part,
            cpus=share.cpus,
            busy_s=share.busy_s,
            most_cpus=share.most_cpus,
            clock=clock,
        )
    # Without procfs, psutil raises errors of many kinds.
    except Exception as error:  # noqa: BLE001
        remedy = "" if scope == "process" else 'scope="process"'
        return Found(
            missing=(Missing("cpu", _SOURCE, f"CPU time cannot be read on this machine: {error}", remedy, warn=True),)
        )
    return Found((estimate,), missing)


def _our_cpus(
    cpu: cpu_catalog.CpuInfo, clock: Clock, environ: Mapping[str, str], proc_root: Path, sys_root: Path
) -> _Share:
    share, grant = _allowed_cpus(cpu, clock, proc_root, sys_root), slurm.grant(environ)
    if grant is None or grant.cpus is None or grant.cpus >= share.cpus:
        return share
    note = f"{grant.cpus:g} of {cpu.threads} logical CPUs, granted by SLURM"
    group_s = slurm.task_group_s(grant, environ=environ, proc_root=proc_root, sys_root=sys_root)
    busy_s = group_s or cpu_time.ProcessTreeTime(slurm.task_tree(clock=clock, environ=environ))
    return _Share(grant.cpus, busy_s, f"/{grant.id}", note, most_cpus=share.cpus)


def _allowed_cpus(cpu: cpu_catalog.CpuInfo, clock: Clock, proc_root: Path, sys_root: Path) -> _Share:
    quota = cgroup.cpu_quota(proc_root=proc_root, sys_root=sys_root)
    allowed = cpu_time.own_cpus(proc_root=proc_root)
    number = min(len(allowed), cpu.threads) if allowed else cpu.threads
    if quota is not None and quota.cpus < number:
        busy_s = quota.busy_s or cpu_time.ProcessTreeTime(clock=clock)
        return _Share(quota.cpus, busy_s, f"/{quota.group_id}", f"{quota.cpus:g} of {cpu.threads} logical CPUs")
    if allowed and number < cpu.threads:
        cpus_s = cpu_time.MachineTime(allowed, proc_root=proc_root)
        suffix = f"/cpus-{cpu_time.format_cpu_list(allowed)}"
        return _Share(number, cpus_s, suffix, f"{number} of {cpu.threads} logical CPUs")
    return _Share(cpu.threads, cpu_time.MachineTime(proc_root=proc_root))


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _our_processes(share: _Share, cpu: cpu_catalog.CpuInfo, clock: Clock, proc_root: Path, sys_root: Path) -> _Share:
    group = cgroup.own_group(proc_root=proc_root, sys_root=sys_root)
    return replace(
        share,
        busy_s=cpu_time.ProcessTreeTime(group=group, clock=clock),
        suffix=f"/{boot_id.process_id()}",
        note=_joined(share.note, _PROCESSES),
        most_cpus=cpu.threads,
    )


def _unlimited(share: _Share, cpu: cpu_catalog.CpuInfo, environ: Mapping[str, str], proc_root: Path) -> Missing | None:
    """Report that all CPUs are charged because the part that is ours is not known; None if it is."""
    if share.suffix:
        return None
    place = cgroup.container(environ=environ, proc_root=proc_root)
    if not place and (grant := slurm.grant(environ)) and grant.cpus is None:
        place = "SLURM job"
    if not place:
        return None
    why = f"there is none, so all {cpu.threads} logical CPUs of the machine are counted"
    # A container on a workstation may well be all that runs there.
    return Missing("cpu", f"CPU limit of this {place}", why, cgroup.REMEDY, warn=place != "container")
