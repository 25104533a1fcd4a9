"""Energy counters of Intel and AMD CPUs (RAPL), read through Linux's powercap interface."""

from __future__ import annotations

import contextlib
import errno
import math
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power import attribution
from trainwatt.power.device import Device, Found, Kind, Meter, Missing
from trainwatt.power.host import boot_id as boot
from trainwatt.power.host import cgroup, cpu_catalog, cpu_time, process_share
from trainwatt.power.host.pseudo_file import KeptFile, entries, is_folder, read_text, text_or_empty
from trainwatt.units import MICRO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainwatt.clock import Clock

_SOURCE = "RAPL"
_ZONE = re.compile(r"intel-rapl(-mmio)?(?P<index>(:\d+)*)")
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR})
_KINDS: tuple[Kind, ...] = ("cpu", "ram")

# No package, and no package's memory, draws more than this for half a minute.
_MOST_W = 1_000.0
# Boards let desktop CPUs draw more than twice their thermal design power (TDP). The floor allows for a wrong TDP.
_MOST_OF_TDP = 3.0
_LEAST_MAX_W = 250.0
_LONGEST_GAP_S = 30.0
# The smallest range is 65.5 kJ; less than a second's worth could not be followed.
_LEAST_RANGE_J = 1_000.0
# Those of 2^64.
_DIGITS = 20
# Source: Intel SDM vol. 3B, "RAPL interfaces".
_REFRESH_S = 0.001

# Zones agree if they differ by no more than a package draws within two updates.
_AGREE_S = 2 * _REFRESH_S
# They show one counter if they still agree after this multiple of that energy: no two packages are so alike.
_ALIKE = 1_000.0
# They show different counters if they disagree in this many readings in a row, in each of which both have moved ...
_DISAGREE = 3
# ... or twice by this fraction of the energy since the start, and this multiple of the energy within which they agree.
_APART, _FAR, _FAR_TWICE = 0.25, 10.0, 2

_GRANT = """\
# until the next reboot:
sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj /sys/class/powercap/intel-rapl:*/max_energy_range_uj
# permanently, for the members of a group:
sudo groupadd --system --force rapl && sudo usermod --append --groups rapl "$USER"
echo 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", \
RUN+="/bin/chgrp rapl /sys%p/energy_uj /sys%p/max_energy_range_uj", \
RUN+="/bin/chmod g+r /sys%p/energy_uj /sys%p/max_energy_range_uj"' | sudo tee /etc/udev/rules.d/70-rapl.rules
sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap
# then log in again. Anyone who can read these files can use the machine's power to spy on other programs
# (CVE-2020-8694), which is why Linux restricts them to root."""
_LOAD = "sudo modprobe -a intel_rapl_common intel_rapl_msr"
_UNMASK = "docker run --security-opt systempaths=unconfined …  (exposes the side channel of CVE-2020-8694)"
_X86_VENDORS = frozenset({"GenuineIntel", "AuthenticAMD", "HygonGenuine"})


@dataclass(frozen=True, slots=True)
class _Zone:
    """RAPL domain: a package, or the memory of one."""

    kind: Kind
    package: str
    path: Path


class RaplCounter:
    """`Counter` of one powercap zone.

    Args:
        device: Device that the zone belongs to.
        path: Folder of the zone.
        zone: Name of its package.

    Raises:
        OSError, ValueError: The zone cannot be read.
    """

    def __init__(self, device: Device, path: Path, zone: str) -> None:
        self.device = device
        self.zone = zone
        self._energy_uj = KeptFile(path / "energy_uj")
        self.wraps_at_j = _joules(read_text(path / "max_energy_range_uj"))
        if self.wraps_at_j < _LEAST_RANGE_J:
            raise ValueError(f"{path}: its counter wraps around at {self.wraps_at_j:g} J, which no counter does")
        self.max_gap_s = max_gap_s(self.wraps_at_j)
        self.refresh_s = _REFRESH_S
        _joules(self._energy_uj.read())

    def joules(self) -> float:
        """Read the counter in joules, which starts again from 0 at ``wraps_at_j``.

        Raises:
            SourceError: The read failed; a later one may succeed.
            SourceLostError: The zone is gone.
        """
        try:
            return _joules(self._energy_uj.read())
        except ValueError as error:
            raise SourceError(f"{self._energy_uj.path}: {error}") from error
        except OSError as error:
            kind = SourceLostError if error.errno in _GONE else SourceError
            raise kind(f"{self._energy_uj.path}: {error.strerror}") from error

    def watts(self) -> None:
        """Return None: there is no second sensor."""
        return


def _joules(microjoules: str) -> float:
    """Parse the number of a zone's file.

    Raises:
        ValueError: It is none of 64 bits.
    """
    if len(text := microjoules.strip()) > _DIGITS:
        raise ValueError(f"{len(text)} characters are no number of a counter")
    return int(text) * MICRO


class _Twin:
    """Zone whose value agreed with another zone's at the start.

    Args:
        counter: Counter of the zone.
    """

    def __init__(self, counter: RaplCounter) -> None:
        self.counter = counter
        # True: it shows the other zone's counter. False: it is a counter of its own. None: undecided.
        self.mirrors: bool | None = None
        self._start_j = self._last_j = counter.joules()
        # Value of the other zone at the last comparison.
        self._first_j = math.nan
        # Joules before it was known to be a counter of its own, which are still to be counted.
        self._held_j = 0.0
        self._disagreed = 0

    def own_j(self) -> float:
        """Read the joules that count in addition to the other zone's, up to a multiple of the counter's range.

        Those from before the decision are added little by little, so that the power stays within its bound.

        Raises:
            SourceError: The read failed.
        """
        raw_j = self.counter.joules()
        step_j, self._last_j = (raw_j - self._last_j) % self.counter.wraps_at_j, raw_j
        self._held_j = max(0.0, self._held_j - step_j)
        return raw_j - self._start_j - self._held_j

    def decide(self, first: RaplCounter, first_start_j: float) -> None:
        """Compare the zone with the other zone, and decide if both show one counter.

        Args:
            first: Counter of the other zone.
            first_start_j: Its value at the start.

        Raises:
            SourceError: A read failed.
        """
        wraps_at_j = first.wraps_at_j
        apart_j, first_j, raw_j = _apart_j(first, self.counter)
        grown_j = [(first_j - first_start_j) % wraps_at_j, (raw_j - self._start_j) % wraps_at_j]
        agree_j = _AGREE_S * first.device.bound_w
        # A value that stands still was misread.
        moved = first_j != self._first_j and raw_j != self._last_j
        self._first_j = first_j
        self._disagreed = self._disagreed + moved if apart_j > agree_j else 0
        far = min(grown_j) > 0 and apart_j > max(_FAR * agree_j, _APART * max(grown_j))
        if self._disagreed >= (_FAR_TWICE if far else _DISAGREE):
            self.mirrors = False
            self._held_j = (self._last_j - self._start_j) % wraps_at_j
        elif not self._disagreed and min(grown_j) > _ALIKE * agree_j:
            self.mirrors = True
        else:
            self._last_j = raw_j


class MirroredCounter:
    """`Counter` of zones that show one counter, which counts once.

    On AMD's first Zen generations (Threadripper, EPYC), Linux shows a zone for each die of a package, and each of them
    shows the energy of the whole package. Source: https://github.com/mlco2/codecarbon/issues/1274.

    Zones whose values agree at the start may be different counters by accident. Until it is decided, the first one
    counts. If another departs from it, that one is a counter of its own, and all its joules are counted.

    Args:
        first: Counter of the first zone.
        others: Counters of the others.

    Raises:
        SourceError: A zone cannot be read.
    """

    def __init__(self, first: RaplCounter, others: Sequence[RaplCounter]) -> None:
        self.wraps_at_j = first.wraps_at_j
        self.refresh_s = first.refresh_s
        self._first = first
        self._start_j = first.joules()
        self._twins = [_Twin(each) for each in others]
        self.device = self._described()

    @property
    def max_gap_s(self) -> float:
        """See :class:`trainwatt.power.device.Counter`; several counters wrap around together sooner than one."""
        return self._first.max_gap_s / (1 + len(self._named(mirrors=False)))

    def joules(self) -> float:
        """Read the zones as one counter, which starts again from 0 at ``wraps_at_j``.

        Raises:
            SourceError: The read failed; a later one may succeed.
            SourceLostError: A zone is gone.
        """
        for twin in self._twins:
            if twin.mirrors is None:
                with contextlib.suppress(SourceError):
                    twin.decide(self._first, self._start_j)
                if twin.mirrors is False:
                    self.device = self._described()
        own_j = sum(twin.own_j() for twin in self._twins if twin.mirrors is False)
        return (self._first.joules() + own_j) % self.wraps_at_j

    def watts(self) -> None:
        """Return None: there is no second sensor."""
        return

    def _named(self, *, mirrors: bool) -> list[str]:
        """Return the names of the other zones that do or do not show the first zone's counter, as far as is known."""
        return [each.counter.zone for each in self._twins if (each.mirrors is not False) == mirrors]

    def _described(self) -> Device:
        mirrors, own = self._named(mirrors=True), self._named(mirrors=False)
        note = f"{', '.join(mirrors)}: the same counter, which counts once" if mirrors else ""
        included = f"includes {', '.join(own)}" if own else ""
        device = self._first.device
        max_w = device.bound_w * (1 + len(own))
        return replace(device, note="; ".join(filter(None, (note, included))), max_w=max_w)


def _apart_j(first: RaplCounter, other: RaplCounter) -> tuple[float, float, float]:
    """Read two zones, and return by how much they disagree, and both values.

    The first zone is read before and after the other, whose value lies between if both show one counter.

    Raises:
        SourceError: A read failed.
    """
    before_j, other_j, after_j = first.joules(), other.joules(), first.joules()
    half_j = first.wraps_at_j / 2
    ahead_j = (other_j - before_j + half_j) % first.wraps_at_j - half_j
    passed_j = (after_j - before_j) % first.wraps_at_j
    return max(0.0, -ahead_j, ahead_j - passed_j), after_j, other_j


def _grouped(counters: Sequence[RaplCounter]) -> Iterator[RaplCounter | MirroredCounter]:
    """Yield each counter once: those whose values agree now as one."""
    groups: list[list[RaplCounter]] = []
    for counter in counters:
        group = next((each for each in groups if _agree(each[0], counter)), None)
        if group is None:
            groups.append([counter])
        else:
            group.append(counter)
    for first, *others in groups:
        yield MirroredCounter(first, others) if others else first


def _agree(first: RaplCounter, other: RaplCounter) -> bool:
    try:
        alike = first.wraps_at_j == other.wraps_at_j
        return alike and _apart_j(first, other)[0] <= _AGREE_S * first.device.bound_w
    except SourceError:
        return False


def our_part(meters: Sequence[Meter], clock: Clock) -> tuple[Meter, ...]:
    """Return meters of our processes' share of the packages, by CPU time, but none of the memory.

    The model of :mod:`trainwatt.power.host.ram_model` attributes memory better.

    Args:
        meters: Meters of whole packages and memories.
        clock: Source of the time.
    """
    tree = cpu_time.ProcessTreeTime(group=cgroup.own_group(), clock=clock)
    all_cpus = cpu_time.MachineTime()
    packages = [meter for meter in meters if meter.device.kind == "cpu"]
    try:
        return tuple(
            attribution.part_of(meter, process_share.CpuShare(tree, all_cpus), "CPU time") for meter in packages
        )
    except SourceError:
        return ()


def max_gap_s(wraps_at_j: float) -> float:
    """Return the longest time in seconds between two readings of a counter that misses no wrap-around.

    This is half the time in which 1 kW, more than any package sustains, makes the counter wrap around, as readings may
    be delayed; at most 30 s. Example: for a counter of 65.5 kJ (AMD, and server memory), which wraps around in 131 s at
    500 W, it is 30 s.

    Args:
        wraps_at_j: Joules at which the counter starts again from 0.
    """
    return min(_LONGEST_GAP_S, wraps_at_j / (2 * _MOST_W))


def find(
    *, root: Path = Path("/sys/class/powercap"), boot_id: str | None = None, proc_root: Path = Path("/proc")
) -> Found:
    """Find every package and every package's memory, each once. Zones that show one counter are one device.

    Other zones are excluded: ``core`` and ``uncore`` are parts of a package, ``psys`` includes all packages and more,
    and ``intel-rapl-mmio`` is another interface to the same package. If any of the packages (or of their memories)
    cannot be read, none of them is returned: a partial sum is never reported as the total, and the caller can estimate
    it.

    Args:
        root: Class folder of powercap.
        boot_id: Identity of the machine; None: that of the running system.
        proc_root: Mount point of procfs, to find the reason if there is no counter.
    """
    cpu = cpu_catalog.find(proc_root=proc_root)
    zones = list(_zones(root))
    if not any(zone.kind == "cpu" for zone in zones):
        return Found(missing=(_nothing(root, cpu),))
    host = boot_id or boot.boot_id(proc_root=proc_root)
    found = Found()
    for kind in _KINDS:
        found += _open_all([zone for zone in zones if zone.kind == kind], host, cpu.name)
    return found


def _zones(root: Path) -> Iterator[_Zone]:
    """Yield packages and memories, each once: a child zone is a folder in its parent and also a link next to it."""
    folders = {folder.name: folder for folder in _walk(root)}
    seen: set[tuple[Kind, str]] = set()
    for key in sorted(folders, key=lambda key: ("mmio" in key, key)):
        name = _name(folders[key])
        package = _name(folders.get(key.rpartition(":")[0])) if name == "dram" else name
        kind: Kind = "ram" if name == "dram" else "cpu"
        if package.startswith("package-") and (kind, package) not in seen:
            seen.add((kind, package))
            yield _Zone(kind, package, folders[key])


def _walk(folder: Path) -> Iterator[Path]:
    for child in entries(folder):
        if (match := _ZONE.fullmatch(child.name)) and is_folder(child):
            if match["index"]:
                yield child
            yield from _walk(child)


def _name(folder: Path | None) -> str:
    return text_or_empty(folder / "name") if folder else ""


def _open_all(zones: list[_Zone], boot: str, cpu_name: str) -> Found:
    """Open the counters of all zones of a kind; if any fails, return none, with the reason."""
    opened = [_open(zone, boot, cpu_name) for zone in zones]
    errors = [error for error in opened if not isinstance(error, RaplCounter)]
    if errors:
        return Found(missing=(_unreadable(zones[0].kind, errors, len(zones)),))
    return Found(tuple(_grouped([counter for counter in opened if isinstance(counter, RaplCounter)])))


def _open(zone: _Zone, boot: str, cpu_name: str) -> RaplCounter | OSError | ValueError:
    try:
        return RaplCounter(_device(zone, boot, cpu_name), zone.path, zone.package)
    except (OSError, ValueError) as error:
        return error


def _device(zone: _Zone, boot: str, cpu_name: str) -> Device:
    what = cpu_name if zone.kind == "cpu" else "memory"
    return Device(
        id=f"{zone.kind}:{boot}/{zone.package}",
        kind=zone.kind,
        name=f"{what} ({zone.package})",
        method="measured",
        source="RAPL energy counter",
        max_w=_max_w(zone.path, cpu_name) if zone.kind == "cpu" else None,
    )


def _max_w(folder: Path, cpu_name: str) -> float | None:
    """Return the watts that a package cannot exceed; None if its thermal design power is not known."""
    rated_w = [cpu_catalog.tdp_w(cpu_name) or 0.0]
    for file in folder.glob("constraint_*_max_power_uw"):
        with contextlib.suppress(OSError, ValueError):
            rated_w.append(int(read_text(file)) * MICRO)
    return min(_MOST_W, max(_LEAST_MAX_W, _MOST_OF_TDP * max(rated_w))) if max(rated_w) > 0 else None


def _unreadable(kind: Kind, errors: list[OSError | ValueError], total: int) -> Missing:
    denied = sum(isinstance(error, PermissionError) for error in errors)
    why = f"{len(errors)} of {total} energy counters cannot be read: {errors[0]}"
    if denied:
        why = f"{denied} of {total} energy counters are readable by root only"
    if len(errors) < total:
        why += "; none is used, as a partial sum would be too low"
    return Missing(kind, _SOURCE, why, remedy=_GRANT if denied else "", warn=True)


def _nothing(root: Path, cpu: cpu_catalog.CpuInfo) -> Missing:
    """Explain why there is no zone: unsupported system, hidden by a container or host, or a module not loaded."""
    if not sys.platform.startswith("linux"):
        return Missing("cpu", _SOURCE, "RAPL counters are supported on Linux only")
    if any(_ZONE.fullmatch(entry.name) and not is_folder(entry) for entry in entries(root)):
        return Missing("cpu", _SOURCE, "the container hides the RAPL counters", _UNMASK, warn=True)
    if cpu.virtual:
        return Missing(
            "cpu", _SOURCE, "this is a virtual machine, which has no access to the RAPL counters of its host"
        )
    if cpu.vendor in _X86_VENDORS:
        return Missing("cpu", _SOURCE, "Linux shows no RAPL counters; the kernel module may not be loaded", _LOAD)
    return Missing("cpu", _SOURCE, "this CPU has no RAPL counters")
