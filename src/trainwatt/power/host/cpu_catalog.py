"""Identification of the CPU, and tables of CPU power that need no network."""

from __future__ import annotations

import csv
import functools
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainwatt.power.host import cpu_platform
from trainwatt.power.host.pseudo_file import read_text

_DATA = Path(__file__).with_name("data")
# Longest name; the kernel's are up to 64 characters long.
_LONGEST = 100

_MARK_IN_WORD = re.compile(r"\((?:r|tm)\)(?=-)")
_NOISE = re.compile(
    r"""\((?:r|tm|c)\)|[\u00ae\u2122\u200b]  # marks
    |\s*@.*$                                  # clock
    |\s+(?:with|w/)\s.*$                      # with Radeon Graphics
    |\s+radeon\s.*$                           # Radeon R7, 12 Compute Cores 4C+8G
    |\(.*?\)                                  # (95W), (Skylake, IBRS)
    |\b\d+(?:st|nd|rd|th)\sgen\b
    |\b(?:\d+|dual|triple|quad|six|eight|twelve|sixteen)[-\s]cores?\b
    |\b(?:processors?|cpus?|apu|soc|intel|amd|genuine)\b
    """,
    re.VERBOSE,
)
# A clock without @; the first Xeons of a series have no "v2" but a "0"; the form of 2010, "i5 M 520" for i5-520M.
_CLOCK = re.compile(r"\s(\d+(?:\.\d+)?)\s?[gm]hz$")
_FIRST = re.compile(r"\s0$")
_OLD_CORE = re.compile(r"\b(i[3579]) (?:([a-z]{1,2}) )?(\d{3})\b")
_CORES = re.compile(r"\b(\d+)[-\s]core", re.IGNORECASE)

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
_TDP_W_PER_THREAD = 6.0
_THREADS = tuple(
    (re.compile(pattern), threads)
    for pattern, threads in (
        (r"\bi3-[1-9]\d{2}\D*$|\bi3-[2-9]\d{3}", 4),
        (r"\bi3-1\d{4}", 8),
        (r"\bi5-[1-9]\d{2}\D*$|\bi5-[2-7]\d{3}", 4),
        (r"\bi5-[89]\d{3}", 6),
        (r"\bi5-1[01]\d{3}", 12),
        (r"\bi5-1[2-4]\d{3}", 16),
        (r"\bi7-[1-9]\d{2}\D*$|\bi7-[2-79]\d{3}", 8),
        (r"\bi7-8\d{3}", 12),
        (r"\bi7-1[01]\d{3}", 16),
        (r"\bi7-12\d{3}", 20),
        (r"\bi7-13\d{3}", 24),
        (r"\bi7-14\d{3}", 28),
        (r"\bi9-(?:9|11)\d{3}", 16),
        (r"\bi9-10\d{3}", 20),
        (r"\bi9-12\d{3}", 24),
        (r"\bi9-1[34]\d{3}", 32),
        (r"\bcore ultra 5\b", 14),
        (r"\bcore ultra 7\b", 20),
        (r"\bcore ultra 9\b", 24),
        (r"\bryzen (?:ai )?3\b", 8),
        (r"\bryzen (?:ai )?5\b", 12),
        (r"\bryzen (?:ai )?7\b", 16),
        (r"\bryzen (?:ai )?9\b", 24),
    )
)
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
        chip_threads: Number of logical CPUs of one chip, from the system; None if it does not report it, or reports
            that of a virtual machine.
    """

    name: str
    vendor: str
    sockets: int
    threads: int
    virtual: bool
    microarchitecture: str | None
    chip_threads: int | None = None

    @property
    def shows_part(self) -> bool:
        """True if the system shows only some CPUs of the chips, so that the number of sockets says nothing.

        This is so in a virtual machine, and in a container that shows its own CPUs only.
        """
        one_each = self.sockets == self.threads > 1
        fewer = self.chip_threads is not None and self.threads < self.chip_threads * self.sockets
        return self.virtual or one_each or fewer


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
        return parse_cpuinfo(read_text(proc_root / "cpuinfo"))
    except OSError:
        return _from_platform()


def parse_cpuinfo(text: str) -> CpuInfo:
    """Parse the text of ``/proc/cpuinfo``, which has one block per logical CPU."""
    values = _values(text)
    first = {key: found[0] for key, found in values.items()}
    name, architecture = _name_and_microarchitecture(first)
    virtual = "hypervisor" in first.get("flags", "").split()
    siblings = _number(first.get("siblings"))
    return CpuInfo(
        name=_printable(name) or platform.machine() or "unknown CPU",
        vendor=_printable(first.get("vendor_id", "")),
        sockets=len(set(values.get("physical id", ()))) or 1,
        threads=len(values.get("processor", ())) or os.cpu_count() or 1,
        virtual=virtual,
        microarchitecture=architecture,
        chip_threads=siblings if siblings > 0 and not virtual else None,
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
    # FX(tm)-8350 is one word, Core(TM)2 is two.
    plain = _MARK_IN_WORD.sub("", name.casefold())
    return " ".join(_NOISE.sub(" ", plain).split())


def tdp_w(name: str) -> float | None:
    """Return the thermal design power of one chip in watts; None if the table does not include it.

    Args:
        name: Model name in a vendor's or a system's spelling. It must match exactly after `normalise`, except for
            spaces and hyphens.
    """
    names, joined = _tdp_table()
    spellings = list(_spellings(normalise(name)))
    watts = (table.get(_joined(each) if table is joined else each) for table in (names, joined) for each in spellings)
    return next((each for each in watts if each is not None), None)


def _spellings(plain: str) -> Iterator[str]:
    """Yield the forms under which the table may have a normalised name."""
    yield plain
    yield _CLOCK.sub("", plain)
    yield _CLOCK.sub(r" \1", plain)
    yield _FIRST.sub("", plain)
    yield _OLD_CORE.sub(lambda found: f"{found[1]}-{found[3]}{found[2] or ''}", plain)


def _joined(plain: str) -> str:
    return plain.replace(" ", "").replace("-", "")


@functools.cache
def _tdp_table() -> tuple[dict[str, float], dict[str, float]]:
    """Return the watts by name, and by name without spaces and hyphens if this is unambiguous."""
    with (_DATA / "cpu_tdp.csv").open(encoding="utf-8", newline="") as lines:
        next(lines)
        names = {row[0]: float(row[1]) for row in csv.reader(lines)}
    joined: dict[str, set[float]] = {}
    for name, watts in names.items():
        joined.setdefault(_joined(name), set()).add(watts)
    return names, {name: watts.pop() for name, watts in joined.items() if len(watts) == 1}


def chip_threads(name: str, tdp_w: float) -> tuple[float, bool]:
    """Estimate the number of logical CPUs of a whole chip.

    AMD's names often give the number of cores. For Intel's Core and AMD's Ryzen, the number is the most frequent one
    of chips of the same tier and generation (Intel ARK and AMD's product table, 2025): it is exact for three quarters
    of them, and within a factor of two for 99 %. For others, a chip has one logical CPU per 6 W of its thermal design
    power: the median of Xeon E, E5, E7 and W; a quarter have less than 4 W, a quarter more than 9 W.

    Args:
        name: Model name.
        tdp_w: Thermal design power of the chip in watts.

    Returns:
        The number, and False if it follows from the power only.
    """
    plain = normalise(name)
    if found := _CORES.search(name):
        per_core = 2 if plain.startswith(("ryzen", "epyc")) else 1
        return float(per_core * int(found[1])), True
    spellings = tuple(_spellings(plain))
    for pattern, threads in _THREADS:
        if any(map(pattern.search, spellings)):
            return float(threads), True
    return max(1.0, tdp_w / _TDP_W_PER_THREAD), False


def vcpu_watts() -> dict[str, VcpuWatts]:
    """Return the watts per logical CPU by microarchitecture, from ``data/cpu_watts_per_vcpu.csv``."""
    with (_DATA / "cpu_watts_per_vcpu.csv").open(encoding="utf-8", newline="") as lines:
        return {
            row["microarchitecture"]: VcpuWatts(float(row["idle_w"]), float(row["full_w"]), row["stands_in"])
            for row in csv.DictReader(lines)
        }


def _printable(text: str) -> str:
    """Return a name as it can be shown, whatever the firmware has put into it."""
    return "".join(each for each in text[:_LONGEST] if each.isprintable())


def _number(text: str | None) -> int:
    try:
        return int(text or "", 0)
    except ValueError:
        return -1


def _from_platform() -> CpuInfo:
    """Identify the CPU on macOS or Windows."""
    name = cpu_platform.name()
    numbers = re.search(r"Family (\d+) Model (\d+) Stepping (\d+), (\w+)", platform.processor())
    vendor = numbers[4] if numbers else ""
    family, model, stepping = (int(numbers[i]) for i in (1, 2, 3)) if numbers else (-1, -1, -1)
    return CpuInfo(
        name=name,
        vendor=vendor,
        sockets=cpu_platform.sockets(),
        threads=os.cpu_count() or 1,
        virtual=cpu_platform.is_virtual(),
        microarchitecture=microarchitecture(name, vendor, family, model, stepping),
    )
