"""Our processes' part of a device that others use too, for ``scope="process"``: an attribution, never a measurement.

What a device drew between two readings is given to those who used it in that time, in proportion to their use, the
energy at rest included: as Scaphandre attributes a host's power to processes by CPU time (its documentation,
"How scaphandre computes per process power consumption"). So the parts of all processes add up to the device's energy
and to no more; time in which nobody used it is nobody's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from trainwatt.clock import Clock
from trainwatt.errors import SourceError
from trainwatt.power.device import Counter, Device, Gauge, Meter, Reading, Replaceable
from trainwatt.power.host.cpu_time import BusyClock, ProcessTreeTime

_RANGE = (0.5, 1.5)  # judged: equal use may draw unequal power
_LOOK_EVERY_S = 10.0

ShareSince = Callable[[], float]
"""Our part, 0 to 1, of the use of a device since the last call; raises SourceError."""


def part_of_use(ours: float, everyones: float) -> float:
    """Our part of the use of a device, 0 to 1; nothing where nobody used it."""
    return min(1.0, max(0.0, ours) / everyones) if everyones > 0 else 0.0


def our_part(device: Device, by: str) -> Device:
    """The device as it stands for our part of it: another one for each process."""
    process = psutil.Process()
    note = f"an attribution to this process and its children by {by}; what it attributes: {device.source}"
    return replace(
        device,
        id=f"{device.id}/process-{process.pid}-{process.create_time():.0f}",
        method="estimated",
        source=f"our share by {by}",
        low=device.low * _RANGE[0],
        high=device.high * _RANGE[1],
        covers=(),
        note="; ".join(filter(None, (device.note, note))),
    )


class AttributedCounter:
    """A `Counter` of our part of another's joules.

    Args:
        meter: what is shared.
        share: our part of it.
        by: what the part goes by, e.g. ``"CPU time"``.
    """

    wraps_at_j = None
    refresh_s = 0.0

    def __init__(self, meter: Counter, share: ShareSince, by: str) -> None:
        self.device = our_part(meter.device, by)
        self.max_gap_s = meter.max_gap_s
        self._meter, self._share, self._by = meter, share, by
        self._raw_j = meter.joules()
        self._ours_j = 0.0
        share()

    def joules(self) -> float:
        """Ours since construction.

        Raises:
            SourceError: the counter, or the part of it, could not be read this time.
        """
        share, raw_j = self._share(), self._meter.joules()
        step_j = raw_j - self._raw_j
        if step_j < 0:
            step_j = max(0.0, step_j + (self._meter.wraps_at_j or 0.0))
        self._raw_j = raw_j
        self._ours_j += share * step_j
        return self._ours_j

    def watts(self) -> None:
        """Always None: no sensor tells our part."""
        return

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        gauge = self._meter.fallback() if isinstance(self._meter, Replaceable) else None
        return AttributedGauge(gauge, self._share, self._by) if gauge else None


class AttributedGauge:
    """A `Gauge` of our part of another's power; see `PartOfCounter`."""

    def __init__(self, meter: Gauge, share: ShareSince, by: str) -> None:
        self.device = our_part(meter.device, by)
        self.max_gap_s = meter.max_gap_s
        self._meter, self._share, self._by = meter, share, by

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        share = self._share()
        return [Reading(reading.time_s, share * reading.watts) for reading in self._meter.readings()]

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        gauge = self._meter.fallback() if isinstance(self._meter, Replaceable) else None
        return AttributedGauge(gauge, self._share, self._by) if gauge else None


def part_of(meter: Meter, share: ShareSince, by: str) -> Meter:
    """Our part of a meter."""
    return AttributedCounter(meter, share, by) if isinstance(meter, Counter) else AttributedGauge(meter, share, by)


class CpuShare:
    """Our processes' part of the machine's busy CPU time since the last call.

    Args:
        ours: CPU time of our processes.
        everyones: CPU time of all.
    """

    def __init__(self, ours: BusyClock, everyones: BusyClock) -> None:
        self._clocks = (ours, everyones)
        self._last_s = (0.0, 0.0)

    def __call__(self) -> float:
        """See `ShareSince`."""
        try:
            ours_s, everyones_s = (clock() for clock in self._clocks)
        except (OSError, ValueError, psutil.Error) as error:
            raise SourceError(f"CPU time: {error}") from error
        last_s, self._last_s = self._last_s, (ours_s, everyones_s)
        return part_of_use(ours_s - last_s[0], everyones_s - last_s[1])


class OurProcesses:
    """The ids of this process and its children, walked every 10 s.

    Args:
        clock: when to walk again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._walked_s: float | None = None
        self._pids: frozenset[int] = frozenset()

    def __call__(self) -> Collection[int]:
        """The ids; ranks of a distributed training that this one has started are not among them."""
        now_s = self._clock.monotonic()
        if self._walked_s is None or now_s - self._walked_s >= _LOOK_EVERY_S:
            self._walked_s = now_s
            self._pids = frozenset((os.getpid(), *ProcessTreeTime.children()))
        return self._pids


class MemoryShare:
    """Our processes' part of the memory in use, looked at every 10 s.

    Pages that several processes share count in parts (PSS: Linux, Documentation/filesystems/proc.rst), and the page
    cache, which is nobody's, not at all; so the parts of all processes add up to what is in use at most.

    Args:
        used_bytes: memory in use by all: anonymous and shared.
        clock: when to look again.
    """

    def __init__(self, used_bytes: Callable[[], float], clock: Clock) -> None:
        self._used_bytes, self._clock = used_bytes, clock
        self._processes = OurProcesses(clock)
        self._looked_s: float | None = None
        self._share = 0.0

    def __call__(self) -> float:
        """See `ShareSince`."""
        now_s = self._clock.monotonic()
        if self._looked_s is None or now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            try:
                ours = sum(proportional_bytes(pid) for pid in self._processes())
                self._share = part_of_use(ours, self._used_bytes())
            except (OSError, ValueError, psutil.Error) as error:
                raise SourceError(f"memory in use: {error}") from error
        return self._share


def proportional_bytes(pid: int) -> float:
    """A process's own memory and its part of what it shares, files left out; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        try:
            return float(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0.0
    kib = {line.split(":")[0]: float(line.split()[1]) for line in lines[1:]}
    return 1024 * (kib["Pss_Anon"] + kib["Pss_Shmem"] if "Pss_Anon" in kib else kib.get("Pss", 0.0))
