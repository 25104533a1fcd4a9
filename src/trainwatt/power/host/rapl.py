"""Energy counters of Intel and AMD CPUs (RAPL), read through Linux's powercap interface."""

from __future__ import annotations

import errno
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power import attribution
from trainwatt.power.device import Device, Found, Kind, Meter, Missing
from trainwatt.power.host import boot_id as boot
from trainwatt.power.host import cpu_catalog, cpu_time, process_share
from trainwatt.power.host.pseudo_file import KeptFile
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
_LONGEST_GAP_S = 30.0
# Source: Intel SDM vol. 3B, "RAPL interfaces".
_REFRESH_S = 0.001

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

    Raises:
        OSError, ValueError: The zone cannot be read.
    """

    def __init__(self, device: Device, path: Path) -> None:
        self.device = device
        self._energy_uj = KeptFile(path / "energy_uj")
        self.wraps_at_j = int(KeptFile(path / "max_energy_range_uj").read()) * MICRO
        self.max_gap_s = max_gap_s(self.wraps_at_j)
        self.refresh_s = _REFRESH_S
        int(self._energy_uj.read())

    def joules(self) -> float:
        """Read the counter in joules, which starts again from 0 at ``wraps_at_j``.

        Raises:
            SourceError: The read failed; a later one may succeed.
            SourceLostError: The zone is gone.
        """
        try:
            return int(self._energy_uj.read()) * MICRO
        except ValueError as error:
            raise SourceError(f"{self._energy_uj.path}: {error}") from error
        except OSError as error:
            kind = SourceLostError if error.errno in _GONE else SourceError
            raise kind(f"{self._energy_uj.path}: {error.strerror}") from error

    def watts(self) -> None:
        """Return None: there is no second sensor."""
        return


def our_part(meters: Sequence[Meter], clock: Clock) -> tuple[Meter, ...]:
    """Return meters of our processes' share of the packages, by CPU time, but none of the memory.

    The model of :mod:`trainwatt.power.host.ram_model` attributes memory better.

    Args:
        meters: Meters of whole packages and memories.
        clock: Source of the time.
    """
    tree, all_cpus = cpu_time.ProcessTreeTime(clock=clock), cpu_time.MachineTime()
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
    """Find every package and every package's memory, each once.

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
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    for child in children:
        if (match := _ZONE.fullmatch(child.name)) and _is_folder(child):
            if match["index"]:
                yield child
            yield from _walk(child)


def _is_folder(path: Path) -> bool:
    """Return True for a folder; False for a broken link or a folder hidden by a container's security profile."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _name(folder: Path | None) -> str:
    try:
        return (folder / "name").read_text(encoding="ascii").strip() if folder else ""
    except OSError:
        return ""


def _open_all(zones: list[_Zone], boot: str, cpu_name: str) -> Found:
    """Open the counters of all zones of a kind; if any fails, return none, with the reason."""
    opened = [_open(zone, boot, cpu_name) for zone in zones]
    errors = [error for error in opened if not isinstance(error, RaplCounter)]
    if errors:
        return Found(missing=(_unreadable(zones[0].kind, errors, len(zones)),))
    return Found(tuple(counter for counter in opened if isinstance(counter, RaplCounter)))


def _open(zone: _Zone, boot: str, cpu_name: str) -> RaplCounter | OSError | ValueError:
    try:
        return RaplCounter(_device(zone, boot, cpu_name), zone.path)
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
    )


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
    if _is_folder(root) and any(_ZONE.fullmatch(entry.name) and not _is_folder(entry) for entry in root.iterdir()):
        return Missing("cpu", _SOURCE, "the container hides the RAPL counters", _UNMASK, warn=True)
    if cpu.virtual:
        return Missing(
            "cpu", _SOURCE, "this is a virtual machine, which has no access to the RAPL counters of its host"
        )
    if cpu.vendor in _X86_VENDORS:
        return Missing("cpu", _SOURCE, "Linux shows no RAPL counters; the kernel module may not be loaded", _LOAD)
    return Missing("cpu", _SOURCE, "this CPU has no RAPL counters")
