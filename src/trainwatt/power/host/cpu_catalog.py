"""Identification of the CPU, and tables of CPU power that need no network."""

from __future__ import annotations

import csv
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_DATA = Path(__file__).with_name("data")

# Matches FX(tm)-8350, but not Core(TM)2.
_MARK_IN_WORD = re.compile(r"\((?:r|tm)\)(?=-)")
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

# Numbers from Linux's arch/x86/include/asm/intel-family.h; only those of servers, whose names cloud providers hide.
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
_ARM = 0x41
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
class CpuInfo:
    """CPUs that the operating system shows.

    Attributes:
        name: Model name, e.g. ``AMD EPYC 7742 64-Core Processor``.
        vendor: ``GenuineIntel``, ``AuthenticAMD``, … or an empty string if it is not known.
        sockets: Number of chips.
        threads: Number of logical CPUs in all sockets together.
        virtual: True in a virtual machine, where sockets and threads may differ from those of the hardware.
        microarchitecture: Row of ``data/cpu_watts_per_vcpu.csv``; None if no row fits.
    """

    name: str
    vendor: str
    sockets: int
    threads: int
    virtual: bool
    microarchitecture: str | None


@dataclass(frozen=True, slots=True)
class VcpuWatts:
    """Power of a server per logical CPU, including its memory, fans and power supply.

    Attributes:
        idle_w, full_w: Watts per logical CPU when idle and at full load.
        stands_in: Similar microarchitecture that the figures are from, if there are none for this one; else empty.
    """

    idle_w: float
    full_w: float
    stands_in: str


def find(*, proc_root: Path = Path("/proc")) -> CpuInfo:
    """Identify the CPU of this machine.

    Args:
        proc_root: Mount point of procfs; without a file ``cpuinfo`` there, Python's `platform` is used.
    """
    try:
        return parse_cpuinfo((proc_root / "cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return _from_platform()


def parse_cpuinfo(text: str) -> CpuInfo:
    """Parse the text of ``/proc/cpuinfo``, which has one block per logical CPU."""
    values = _values(text)
    first = {key: found[0] for key, found in values.items()}
    name, architecture = _name_and_microarchitecture(first)
    return CpuInfo(
        name=name or platform.machine() or "unknown CPU",
        vendor=first.get("vendor_id", ""),
        sockets=len(set(values.get("physical id", ()))) or 1,
        threads=len(values.get("processor", ())) or psutil.cpu_count() or 1,
        virtual="hypervisor" in first.get("flags", "").split(),
        microarchitecture=architecture,
    )


def _values(text: str) -> dict[str, list[str]]:
    """Collect the values of each key, in the order of the blocks."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), []).append(value.strip())
    return values


def _name_and_microarchitecture(facts: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the model name and the microarchitecture, which Arm CPUs report by a part number only."""
    name = facts.get("model name", "")
    if _number(facts.get("CPU implementer")) == _ARM and (part := _ARM_PARTS.get(_number(facts.get("CPU part")))):
        return name or part[0], part[1]
    family, model, stepping = (_number(facts.get(key)) for key in ("cpu family", "model", "stepping"))
    return name, microarchitecture(name, facts.get("vendor_id", ""), family, model, stepping)


def microarchitecture(name: str, vendor: str, family: int, model: int, stepping: int) -> str | None:
    """Identify the microarchitecture by CPUID numbers, or else by a name in brackets, as in a virtual machine.

    Args:
        name: Model name, e.g. ``Intel Xeon Processor (Skylake, IBRS)``.
        vendor: ``GenuineIntel`` or ``AuthenticAMD``.
        family: CPUID family; -1 if not known, as for model and stepping.
        model: CPUID model, including the extended model.
        stepping: CPUID stepping, which distinguishes Cascade Lake from Skylake.

    Returns:
        Name of a row in ``data/cpu_watts_per_vcpu.csv``; None if it is not known.
    """
    row = None
    if vendor == "AuthenticAMD":
        row = _amd_microarchitecture(family, model)
    elif vendor == "GenuineIntel" and family == 6:
        row = _intel_microarchitecture(model, stepping)
    if row is not None:
        return row
    plain = name.casefold().replace(" ", "")
    return next((row for word, row in _IN_NAME.items() if word in plain), None)


def _amd_microarchitecture(family: int, model: int) -> str | None:
    return next((row for models, row in _AMD_MODELS.get(family, ()) if model in models), None)


def _intel_microarchitecture(model: int, stepping: int) -> str | None:
    if model == 85 and stepping >= _FIRST_CASCADE_LAKE_STEPPING:
        return "Cascade Lake"
    return _INTEL_MODELS.get(model)


def normalise(name: str) -> str:
    """Reduce a CPU name to lower case, without trademarks, vendor, clock, number of cores and graphics.

    >>> normalise("Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz")
    'xeon e5-2620 v3'
    """
    plain = _MARK_IN_WORD.sub("", name.casefold())
    return " ".join(_NOISE.sub(" ", plain).split())


def tdp_w(name: str) -> float | None:
    """Return the thermal design power of one chip in watts; None if the table does not include it.

    Args:
        name: Model name, which must match exactly after `normalise`.
    """
    key = normalise(name)
    with (_DATA / "cpu_tdp.csv").open(encoding="utf-8", newline="") as lines:
        next(lines)
        return next((float(row[1]) for row in csv.reader(lines) if row[0] == key), None)


def vcpu_watts() -> dict[str, VcpuWatts]:
    """Return the watts per logical CPU by microarchitecture, from ``data/cpu_watts_per_vcpu.csv``."""
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


def _from_platform() -> CpuInfo:
    """Identify the CPU on macOS or Windows; both show a single, whole CPU."""
    name = _platform_name()
    numbers = re.search(r"Family (\d+) Model (\d+) Stepping (\d+), (\w+)", platform.processor())
    vendor = numbers[4] if numbers else ""
    family, model, stepping = (int(numbers[i]) for i in (1, 2, 3)) if numbers else (-1, -1, -1)
    return CpuInfo(
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
            # The command is fixed.
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()  # noqa: S603
        if sys.platform == "win32":
            # Exists on Windows only.
            import winreg  # noqa: PLC0415

            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine() or "unknown CPU"
