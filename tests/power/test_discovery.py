from __future__ import annotations

from pathlib import Path

import pytest

from standins import nvml as standin
from standins.nvml import h100
from standins.powercap import PowercapTree
from trainwatt.power.device import Found
from trainwatt.power.discovery import discover
from trainwatt.testing import VirtualClock


def kinds(found: Found) -> list[tuple[str, str]]:
    return [(meter.device.kind, meter.device.method) for meter in found.meters]


def test_a_machine_without_counters_is_estimated(tmp_path: Path) -> None:
    assert kinds(discover(("cpu", "ram"), powercap=tmp_path)) == [("cpu", "estimated"), ("ram", "estimated")]


def test_counters_come_before_models(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, sockets=2, children=("core", "dram"))
    assert (
        sorted(kinds(discover(("cpu", "ram"), powercap=tree.root)))
        == [("cpu", "measured")] * 2 + [("ram", "measured")] * 2
    )


def test_memory_without_a_counter_is_estimated_beside_counted_packages(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, children=("core",))
    assert kinds(discover(("cpu", "ram"), powercap=tree.root)) == [("cpu", "measured"), ("ram", "estimated")]


def test_our_share_of_a_machine_is_estimated_even_where_the_whole_is_counted(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    assert kinds(discover(("cpu",), scope="process", powercap=tree.root)) == [("cpu", "estimated")]


@pytest.mark.parametrize("kind", ["cpu", "ram"])
def test_only_what_is_wanted_is_read(tmp_path: Path, kind: str) -> None:
    tree = PowercapTree(tmp_path, children=("dram",))
    assert {found for found, _ in kinds(discover((kind,), powercap=tree.root))} == {kind}  # type: ignore[arg-type]


def test_a_counter_of_a_whole_module_is_not_joined_by_its_processor(
    nvml_library: standin.Library, clock: VirtualClock, tmp_path: Path
) -> None:
    with nvml_library.running(h100(module_scope=True), clock=clock):
        assert kinds(discover(clock=clock, powercap=tmp_path)) == [("gpu", "measured")]
    with nvml_library.running(h100(), clock=clock):
        assert [kind for kind, _ in kinds(discover(clock=clock, powercap=tmp_path))] == ["gpu", "cpu", "ram"]
