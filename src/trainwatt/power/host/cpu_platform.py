"""CPU of a machine without procfs: macOS and Windows."""

from __future__ import annotations

import ctypes
import platform
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

# Of Windows, winnt.h: LOGICAL_PROCESSOR_RELATIONSHIP.
_PACKAGES = 3
_MAKER = r"HARDWARE\DESCRIPTION\System\BIOS"
_CPU = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
# Makers and products of virtual machines, as their firmware gives them.
_VIRTUAL = re.compile(
    r"virtual machine|vmware|virtualbox|\bqemu\b|\bkvm\b|\bxen\b|bochs|parallels|bhyve|google compute|amazon ec2|"
    r"openstack|nutanix|alibaba cloud",
    re.IGNORECASE,
)

# Function of Windows: kind of relationship, buffer, its size; returns 0 if the buffer is too small.
Topology = Callable[[int, Any, Any], int]


def name() -> str:
    """Return the model name of the CPU."""
    found = ""
    if sys.platform == "darwin":
        found = _sysctl("machdep.cpu.brand_string")
    elif sys.platform == "win32":
        found = _registry(_CPU, "ProcessorNameString")
    return found or platform.processor() or platform.machine() or "unknown CPU"


def sockets() -> int:
    """Return the number of chips; 1 if the system does not report it."""
    if sys.platform == "darwin":
        packages = _sysctl("hw.packages")
        return int(packages) if packages.isdigit() and int(packages) else 1
    if sys.platform == "win32":
        return windows_packages(ctypes.windll.kernel32.GetLogicalProcessorInformationEx) or 1
    return 1


def is_virtual() -> bool:
    """Return True in a virtual machine, as far as the system reports it."""
    if sys.platform == "darwin":
        return _sysctl("kern.hv_vmm_present") == "1"
    names = ("SystemManufacturer", "SystemProductName", "BIOSVendor", "BIOSVersion")
    return sys.platform == "win32" and any(_VIRTUAL.search(_registry(_MAKER, each)) for each in names)


def windows_packages(topology: Topology) -> int:
    """Return the number of chips on Windows; 0 if it is not reported.

    Args:
        topology: Function ``GetLogicalProcessorInformationEx`` of kernel32.
    """
    size = ctypes.c_uint32(0)
    try:
        topology(_PACKAGES, None, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        if not topology(_PACKAGES, buffer, ctypes.byref(size)):
            return 0
    except (AttributeError, OSError):
        return 0
    return sum(kind == _PACKAGES for kind in relationships(buffer.raw[: size.value]))


def relationships(records: bytes) -> Iterator[int]:
    """Yield the kind of each ``SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX``: kind, size in bytes, further fields.

    Args:
        records: The records, one after the other.
    """
    header = struct.Struct("<II")
    start = 0
    while start + header.size <= len(records):
        kind, size = header.unpack_from(records, start)
        yield kind
        if size < header.size:
            return
        start += size


def _sysctl(key: str) -> str:
    try:
        command = ["/usr/sbin/sysctl", "-n", key]
        # The command is fixed.
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""


def _registry(key: str, value: str) -> str:
    if sys.platform == "win32":
        # Exists on Windows only.
        import winreg  # noqa: PLC0415

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
                return str(winreg.QueryValueEx(opened, value)[0]).strip()
        except OSError:
            return ""
    return ""
