from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.linux_host import GENOA_VM, LinuxHost
from trainwatt.power.device import Counter
from trainwatt.power.host import ram_model
from trainwatt.power.host.ram_model import RamEstimate
from trainwatt.testing import VirtualClock


def estimate_on(host: LinuxHost, clock: VirtualClock | None = None) -> RamEstimate:
    (meter,) = ram_model.find(proc_root=host.proc_root, sys_root=host.sys_root, clock=clock or VirtualClock()).meters
    assert isinstance(meter, RamEstimate)
    return meter


def test_512_gb_spans_the_published_models() -> None:
    watts = ram_model.model(512)
    assert watts.low_w == pytest.approx(40)
    assert watts.high_w == pytest.approx(201, abs=1)
    assert watts.central_w == pytest.approx(105, abs=1)


def test_a_small_machine_has_two_modules_and_a_small_virtual_machine_a_share_of_some() -> None:
    assert ram_model.model(8).high_w == pytest.approx(10)
    assert ram_model.model(8, virtual=True).low_w == pytest.approx(8 / 64 * 5)


@given(size_gb=st.floats(0.1, 1e5), virtual=st.booleans())
def test_the_central_figure_lies_in_its_range(size_gb: float, virtual: bool) -> None:
    watts = ram_model.model(size_gb, virtual=virtual)
    assert 0 < watts.low_w <= watts.central_w <= watts.high_w


@given(times_s=st.lists(st.floats(0, 1e5), min_size=1).map(sorted))
def test_energy_is_power_times_time_whenever_it_is_read(times_s: list[float]) -> None:
    clock = VirtualClock(50.0)
    (meter,) = ram_model.find(clock=clock).meters
    assert isinstance(meter, RamEstimate)
    for time_s in times_s:
        clock.now_s = 50.0 + time_s
        assert meter.joules() == pytest.approx(meter.power_w * time_s, abs=1e-6)


def test_this_machines_memory_is_charged_whole_and_says_that_it_is_an_estimate(tmp_path: Path) -> None:
    meter = estimate_on(LinuxHost(tmp_path))
    assert isinstance(meter, Counter)
    assert meter.power_w == pytest.approx(ram_model.model(psutil.virtual_memory().total / 2**30).central_w)
    assert meter.device.id == "ram:0a1b2c3d-0000-4000-8000-000000000001"
    assert meter.device.method == "estimated"
    assert meter.device.low < 1 < meter.device.high


@pytest.mark.parametrize(
    ("cgroup", "file"),
    [
        ("0::/pod\n", "pod/memory.max"),
        ("0::/pod\n", "memory.max"),
        ("5:memory:/docker/abc\n0::/\n", "memory/docker/abc/memory.limit_in_bytes"),
        ("5:memory:/docker/abc\n0::/\n", "memory/memory.limit_in_bytes"),
    ],
)
def test_a_container_is_charged_for_the_memory_that_it_may_use(tmp_path: Path, cgroup: str, file: str) -> None:
    whole_w = estimate_on(LinuxHost(tmp_path / "whole")).power_w
    host = LinuxHost(tmp_path / "part")
    host.write("self/cgroup", cgroup)
    host.write_cgroup(file, f"{psutil.virtual_memory().total // 4}\n")
    meter = estimate_on(host)
    assert meter.power_w == pytest.approx(whole_w / 4)
    assert "/cgroup-" in meter.device.id


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_no_limit_charges_the_whole_machine(tmp_path: Path, limit: str) -> None:
    host = LinuxHost(tmp_path)
    host.write("self/cgroup", "5:memory:/\n0::/\n")
    host.write_cgroup("memory.max", f"{limit}\n")
    host.write_cgroup("memory/memory.limit_in_bytes", f"{limit}\n")
    assert "/cgroup-" not in estimate_on(host).device.id


def test_a_virtual_machine_is_charged_for_less_than_a_whole_one(tmp_path: Path) -> None:
    whole = estimate_on(LinuxHost(tmp_path / "whole"))
    virtual = estimate_on(LinuxHost(tmp_path / "virtual", facts=GENOA_VM, virtual=True))
    assert virtual.power_w <= whole.power_w
