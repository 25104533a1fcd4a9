"""Simulated powercap tree in a temporary folder: RAPL as Linux shows it, with known energy behind its counters.

tree = PowercapTree(tmp_path, sockets=2)
found = rapl.find(root=tree.root)
tree.advance(60.0)  # the counters now read the energy of their waves after 60 s
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from standins.waves import Square

INTEL_RANGE_J = 262_143.328850
AMD_RANGE_J = 65_532.610987

# capability(7): CAP_DAC_OVERRIDE is 1, CAP_DAC_READ_SEARCH is 2; capget(2): version 3, of this thread.
_OVERRIDES = 1 << 1 | 1 << 2
_HEADER = (ctypes.c_uint32 * 2)(0x20080522, 0)
_WIDTH = 24
_AHEAD_J = 7_919.0


@dataclass(slots=True)
class Zone:
    """RAPL domain with its energy counter.

    Attributes:
        path: folder of the domain.
        name: ``package-0``, ``dram``, …
        wave: power of the domain.
        start_j: value of the counter at time 0.
        range_j: value at which the counter wraps around.
    """

    path: Path
    name: str
    wave: Square
    start_j: float
    range_j: float

    @property
    def energy_file(self) -> Path:
        """File of the counter."""
        return self.path / "energy_uj"

    def create(self) -> None:
        """Create the folder and its files."""
        self.path.mkdir(parents=True)
        (self.path / "name").write_text(f"{self.name}\n", encoding="ascii")
        (self.path / "max_energy_range_uj").write_text(f"{self.range_j * 1e6:.0f}\n", encoding="ascii")
        self.energy_file.touch()
        self.write(0.0)

    def write(self, time_s: float) -> None:
        """Set the counter to its value at a time, in a single write so that no reader sees half of it."""
        total_uj = round((self.start_j + self.wave.energy_j(time_s)) * 1e6)
        text = f"{total_uj % round(self.range_j * 1e6)}\n".ljust(_WIDTH, "\n")
        fd = os.open(self.energy_file, os.O_WRONLY)
        try:
            os.pwrite(fd, text.encode("ascii"), 0)
        finally:
            os.close(fd)

    def reset(self, time_s: float) -> None:
        """Let the counter start again from 0 at a time, as after a suspension."""
        self.start_j = -self.wave.energy_j(time_s)

    def deny(self) -> None:
        """Make the counter readable by root only, as Linux does since 5.10; use with `unprivileged`."""
        self.energy_file.chmod(0o000)

    def remove(self) -> None:
        """Remove the zone while it is open: reads then return nothing, which is the closest to sysfs's ENODEV."""
        os.truncate(self.energy_file, 0)
        self.energy_file.unlink()


class PowercapTree:
    """Packages and their children below ``<folder>/devices/virtual/powercap``, and the class folder with its links.

    Args:
        folder: an empty folder.
        sockets: number of packages.
        dies: number of dies per package; with more than one, names are like ``package-0-die-1``.
        mirrored: True if all dies of a package show the counter of the whole package, as on AMD's Zen to Zen 2.
        children: children of each package: any of ``core``, ``uncore`` and ``dram``.
        psys: True to add a zone for the whole platform.
        mmio: True to show the first package a second time, as ``intel-rapl-mmio``.
        shape: ``links``: as in sysfs; ``hidden``: broken links, as in a container that masks the devices;
            ``nested``: the class folder holds the control types themselves, and no links to zones.
        wave: power of a package; its memory draws a quarter of that, each other child half.
        start_j: value at time 0 of the first package's counters; the next ones are each 7,919 J ahead.
        range_j: value at which every counter wraps around.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sockets: int = 1,
        dies: int = 1,
        mirrored: bool = False,
        children: tuple[str, ...] = ("core", "dram"),
        psys: bool = False,
        mmio: bool = False,
        shape: Literal["links", "hidden", "nested"] = "links",
        wave: Square = Square(40.0, 180.0),
        start_j: float = 1_000.0,
        range_j: float = INTEL_RANGE_J,
    ) -> None:
        self._devices = folder / "devices/virtual/powercap"
        self.root = self._devices if shape == "nested" else folder / "class/powercap"
        self.zones: list[Zone] = []
        self._wave, self._start_j, self._range_j = wave, start_j, range_j
        names = [f"package-{s}" if dies == 1 else f"package-{s}-die-{d}" for s in range(sockets) for d in range(dies)]
        for index, name in enumerate(names):
            number = index // dies if mirrored else index
            self._start_j = (start_j + number * _AHEAD_J) % range_j
            self._add_package("intel-rapl", index, name, children)
        self._start_j = start_j
        if psys:
            self._add("intel-rapl", (len(names),), "psys", 2.0)
        if mmio:
            self._add_package("intel-rapl-mmio", 0, names[0], children)
        if shape != "nested":
            self._link()
        if shape == "hidden":
            self._devices.rename(folder / "masked")

    def packages(self) -> list[Zone]:
        """Return the packages of the first control type, in order."""
        return [zone for zone in self.zones if zone.name.startswith("package") and "mmio" not in zone.path.name]

    def memories(self) -> list[Zone]:
        """Return the ``dram`` zones of these packages, in order."""
        return [zone for zone in self.zones if zone.name == "dram" and "mmio" not in zone.path.name]

    def advance(self, time_s: float) -> None:
        """Set all counters to their values at a time."""
        for zone in self.zones:
            zone.write(time_s)

    def _add_package(self, control: str, index: int, name: str, children: tuple[str, ...]) -> None:
        self._add(control, (index,), name, 1.0)
        for number, child in enumerate(children):
            self._add(control, (index, number), child, 0.25 if child == "dram" else 0.5)

    def _add(self, control: str, indices: tuple[int, ...], name: str, part: float) -> None:
        path = self._devices / control
        key = control
        for index in indices:
            key += f":{index}"
            path /= key
        wave = Square(self._wave.low_w * part, self._wave.high_w * part, self._wave.period_s)
        zone = Zone(path, name, wave, self._start_j, self._range_j)
        zone.create()
        self.zones.append(zone)

    def _link(self) -> None:
        """Create the flat class folder of links, children included, and the links of each zone back to it."""
        self.root.mkdir(parents=True)
        for control in sorted({zone.path.name.partition(":")[0] for zone in self.zones}):
            (self.root / control).symlink_to(os.path.relpath(self._devices / control, self.root))
        for zone in self.zones:
            (self.root / zone.path.name).symlink_to(os.path.relpath(zone.path, self.root))
            (zone.path / "subsystem").symlink_to(os.path.relpath(self.root, zone.path))
            (zone.path / "device").symlink_to(os.path.relpath(zone.path.parent, zone.path))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Heed file permissions within a ``with`` block, also in a test that runs as root.

    Only the capabilities by which root passes over permissions are dropped, of this thread and of those that it starts:
    root's own files, such as the installed package, stay readable wherever they lie.
    """
    if os.geteuid() != 0:
        yield
        return
    before = _capabilities()
    _set_capabilities([before[0] & ~_OVERRIDES, *before[1:]])
    try:
        yield
    finally:
        _set_capabilities(before)


def _capabilities() -> list[int]:
    """Return the capability sets of this thread: effective, permitted and inheritable, low words before high ones."""
    sets = (ctypes.c_uint32 * 6)()
    _checked(ctypes.CDLL(None, use_errno=True).capget(_HEADER, sets))
    return list(sets)


def _set_capabilities(sets: list[int]) -> None:
    _checked(ctypes.CDLL(None, use_errno=True).capset(_HEADER, (ctypes.c_uint32 * 6)(*sets)))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "the capabilities of this thread")
