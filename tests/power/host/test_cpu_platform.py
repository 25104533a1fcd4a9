"""CPU of Windows and macOS, as their own functions and commands report it."""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.power.host import cpu_platform

CORE, NUMA_NODE, CACHE, PACKAGE, GROUP = range(5)


def record(kind: int, size: int = 48) -> bytes:
    """One SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX: its kind, its size, and what follows."""
    return struct.pack("<II", kind, size) + b"\xa5" * (size - 8)


class Windows:
    """GetLogicalProcessorInformationEx of a machine, which fails at first if the buffer is too small."""

    def __init__(self, records: bytes) -> None:
        self._records = records

    def __call__(self, kind: int, buffer: Any, size: Any) -> int:
        assert kind == PACKAGE
        given_bytes, size._obj.value = size._obj.value, len(self._records)
        if buffer is None or given_bytes < len(self._records):
            return 0
        ctypes.memmove(buffer, self._records, len(self._records))
        return 1


@pytest.mark.parametrize("packages", [1, 2, 4])
def test_windows_reports_each_chip(packages: int) -> None:
    # A package with CPUs in two groups has a longer record.
    assert cpu_platform.windows_packages(Windows(record(PACKAGE, 64) * packages)) == packages


def test_a_windows_that_fails_reports_none() -> None:
    def fails(_kind: int, _buffer: Any, _size: Any) -> int:
        return 0

    def gone(_kind: int, _buffer: Any, _size: Any) -> int:
        raise OSError

    assert cpu_platform.windows_packages(fails) == 0
    assert cpu_platform.windows_packages(gone) == 0


@given(kinds=st.lists(st.tuples(st.sampled_from(range(5)), st.integers(8, 200)), max_size=20))
def test_records_of_any_size_are_told_apart(kinds: list[tuple[int, int]]) -> None:
    records = b"".join(record(kind, size) for kind, size in kinds)
    assert list(cpu_platform.relationships(records)) == [kind for kind, _ in kinds]


@given(junk=st.binary(max_size=200))
def test_junk_ends(junk: bytes) -> None:
    assert len(list(cpu_platform.relationships(junk))) <= 26


def test_this_machine_has_a_chip_with_a_name() -> None:
    assert cpu_platform.sockets() >= 1
    assert cpu_platform.name()
    assert cpu_platform.is_virtual() in (True, False)


@pytest.mark.parametrize(
    ("maker", "virtual"),
    [
        ("QEMU", True),
        ("Virtual Machine", True),
        ("VMware, Inc.", True),
        ("Amazon EC2", True),
        ("Google Compute Engine", True),
        ("Dell Inc.", False),
        ("PowerEdge R750", False),
        ("ASUSTeK COMPUTER INC.", False),
    ],
)
def test_firmware_names_a_virtual_machine(maker: str, virtual: bool) -> None:
    assert bool(cpu_platform._VIRTUAL.search(maker)) == virtual


@pytest.mark.skipif(sys.platform != "win32", reason="reads the registry of Windows")
def test_windows_itself() -> None:
    assert cpu_platform.windows_packages(ctypes.windll.kernel32.GetLogicalProcessorInformationEx) >= 1  # type: ignore[attr-defined]
