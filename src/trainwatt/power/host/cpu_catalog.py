"""Which processor this is, and what is known of its power; offline."""

from __future__ import annotations

import csv
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_DATA = Path(__file__).with_name("data")

_MARK_IN_WORD = re.compile(r"\((?:r|tm)\)(?=-)")  # FX(tm)-8350, but Core(TM)2
_NOISE = re.compile(
    r"""\((?:r|tm|c)\)|[\u00ae\u2122\u200b]  # marks
    |\s+@.*$                                  # clock
    |\s+(?:with|w/)\s.*$                      # with Radeon Graphics
    |\(.*?\)                                  # (95W), (Skylake, IBRS)
    |\b\d+th\sgen\b
    |\b(?:\d+|dual|triple|quad|six|eight|twelve|sixteen)-core\b
    |\b(?:processor|cpu|apu|soc|intel|amd)\b
    """,
    re.VERBOSE,
)

# Numbers as in Linux's arch/x86/include/asm/intel-family.h; only those that appear in servers, whose names clouds hide.
_INTEL_MODELS: dict[int, str] = {
    42: "Sandy Bridge",
    45: "Sandy Bridge",
    58: "Ivy Bridge",
    62: "Ivy Bridge",
    60: "Haswell",
    63: "Haswell",
    69: "Haswell",
    70: "Haswell",
    61: "Broadwell",
    71: "Broadwell",
    79: "Broadwell",
    86: "Broadwell",
    85: "Skylake",
    158: "Coffee Lake",
    106: "Ice Lake",
    108: "Ice Lake",
    143: "Sapphire Rapids",
    207: "Emerald Rapids",
    173: "Granite Rapids",
    174: "Granite Rapids",
}
_FIRST_CASCADE_LAKE_STEPPING = 5
_AMD_MODELS: dict[int, tuple[tuple[range, str], ...]] = {
    23: ((range(0x10), "EPYC 1st Gen"), (range(0x30, 0x40), "EPYC 2nd Gen")),
    25: (
        (range(0x10), "EPYC 3rd Gen"),
        (range(0x10, 0x20), "EPYC 4th Gen"),
        (range(0xA0, 0xB0), "EPYC 4th Gen"),
    ),
    26: ((range(0x20), "EPYC 5th Gen"),),
}
_ARM_PARTS: dict[int, tuple[str, str]] = {
    0xD0C: ("Arm Neoverse N1", "Graviton2"),
    0xD40: ("Arm Neoverse V1", "Graviton3"),
    0xD4F: ("Arm Neoverse V2", "Graviton4"),
}
_IN_NAME: dict[str, str] = {
    "cascadelake": "Cascade Lake",
    "skylake": "Skylake",
    "icelake": "Ice Lake",
    "sapphirerapids": "Sapphire Rapids",
    "emeraldrapids": "Emerald Rapids",
    "graniterapids": "Granite Rapids",
    "broadwell": "Broadwell",
    "haswell": "Haswell",
    "ivybridge": "Ivy Bridge",
    "sandybridge": "Sandy Bridge",
    "epyc-rome": "EPYC 2nd Gen",
    "epyc-milan": "EPYC 3rd Gen",
    "epyc-genoa": "EPYC 4th Gen",
    "epyc-turin": "EPYC 5th Gen",
}


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor or processors that the operating system shows.

    Attributes:
        name: as the processor calls itself, e.g. ``AMD EPYC 7742 64-Core Processor``.
        vendor: ``GenuineIntel``, ``AuthenticAMD``, … or nothing where it is not told.
        sockets: how many chips.
        threads: logical CPUs in all sockets together.
        virtual: whether a hypervisor stands between: then the sockets and threads are its invention.
        microarchitecture: a row of ``data/cpu_watts_per_vcpu.csv``, or None where no row fits.
    """

    name: str
    vendor: str
    sockets: int
    threads: int
    virtual: bool
    microarchitecture: str | None


@dataclass(frozen=True, slots=True)
class VcpuWatts:
    """Power of a server per logical CPU, memory, fans and power supply among it.

    Attributes:
        idle_w, full_w: watts per logical CPU at rest and at full load.
        stands_in: the microarchitecture whose figures these are, where none are known of its own.
    """

    idle_w: float
    full_w: float
    stands_in: str


def find(*, proc_root: Path = Path("/proc")) -> Processor:
    """The processor of this machine.

    Args:
        proc_root: where procfs is mounted; where it has no ``cpuinfo`` the platform is asked instead.
    """
    try:
        return parse_cpuinfo((proc_root / "cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return _from_platform()


def parse_cpuinfo(text: str) -> Processor:
    """Read ``/proc/cpuinfo``, whose blocks are one per logical CPU."""
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in text.splitlines())]
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key, value)
    name = first.get("model name", "")
    vendor = first.get("vendor_id", "")
    numbers = tuple(_number(first.get(key)) for key in ("cpu family", "model", "stepping"))
    architecture = microarchitecture(name, vendor, *numbers)
    part = _ARM_PARTS.get(_number(first.get("CPU part"))) if _number(first.get("CPU implementer")) == 0x41 else None
    if part:
        name, architecture = name or part[0], part[1]
    return Processor(
        name=name or platform.machine() or "unknown processor",
        vendor=vendor,
        sockets=len({value for key, value in pairs if key == "physical id"}) or 1,
        threads=sum(key == "processor" for key, _ in pairs) or psutil.cpu_count() or 1,
        virtual="hypervisor" in first.get("flags", "").split(),
        microarchitecture=architecture,
    )


def microarchitecture(name: str, vendor: str, family: int, model: int, stepping: int) -> str | None:
    """The microarchitecture by the processor's numbers, else by what a virtual machine's name says in brackets.

    Args:
        name: e.g. ``Intel Xeon Processor (Skylake, IBRS)``.
        vendor: ``GenuineIntel`` or ``AuthenticAMD``.
        family: as CPUID gives it; -1 where not known, like the two that follow.
        model: with the extended model's bits.
        stepping: tells Cascade Lake from Skylake.

    Returns:
        A row's name in ``data/cpu_watts_per_vcpu.csv``, or None.
    """
    if vendor == "AuthenticAMD":
        for models, row in _AMD_MODELS.get(family, ()):
            if model in models:
                return row
    if vendor == "GenuineIntel" and family == 6 and model in _INTEL_MODELS:
        cascade = model == 85 and stepping >= _FIRST_CASCADE_LAKE_STEPPING
        return "Cascade Lake" if cascade else _INTEL_MODELS[model]
    plain = name.casefold().replace(" ", "")
    return next((row for word, row in _IN_NAME.items() if word in plain), None)


def normalise(name: str) -> str:
    """A processor's name without marks, vendor, clock, number of cores and graphics, in lower case.

    >>> normalise("Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz")
    'xeon e5-2620 v3'
    """
    plain = _MARK_IN_WORD.sub("", name.casefold())
    return " ".join(_NOISE.sub(" ", plain).split())


def tdp_w(name: str) -> float | None:
    """Thermal design power of one chip in watts, by its exact name; None where the table does not have it."""
    key = normalise(name)
    with (_DATA / "cpu_tdp.csv").open(encoding="utf-8", newline="") as lines:
        next(lines)
        return next((float(row[1]) for row in csv.reader(lines) if row[0] == key), None)


def vcpu_watts() -> dict[str, VcpuWatts]:
    """Watts per logical CPU by microarchitecture."""
    with (_DATA / "cpu_watts_per_vcpu.csv").open(encoding="utf-8", newline="") as lines:
        return {
            row["microarchitecture"]: VcpuWatts(float(row["idle_w"]), float(row["full_w"]), row["stands_in"])
            for row in csv.DictReader(lines)
        }


def _number(text: str | None) -> int:
    try:
        return int(text or "", 0)
    except ValueError:
        return -1


def _from_platform() -> Processor:
    """What macOS and Windows tell; both show a whole, single processor."""
    name = _platform_name()
    numbers = re.search(r"Family (\d+) Model (\d+) Stepping (\d+), (\w+)", platform.processor())
    vendor = numbers[4] if numbers else ""
    family, model, stepping = (int(numbers[i]) for i in (1, 2, 3)) if numbers else (-1, -1, -1)
    return Processor(
        name=name,
        vendor=vendor,
        sockets=1,
        threads=psutil.cpu_count() or 1,
        virtual=False,
        microarchitecture=microarchitecture(name, vendor, family, model, stepping),
    )


def _platform_name() -> str:
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()  # noqa: S603 - fixed command
        if sys.platform == "win32":
            import winreg  # noqa: PLC0415 - exists on Windows only

            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine() or "unknown processor"
