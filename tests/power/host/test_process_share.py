from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins import nvml as standin
from standins.powercap import PowercapTree
from trainwatt.errors import SourceError
from trainwatt.power.attribution import AttributedCounter, part_of_use
from trainwatt.power.device import Counter, Device, Gauge
from trainwatt.power.discovery import discover
from trainwatt.power.host import rapl
from trainwatt.power.host.process_share import CpuShare, MemoryShare, proportional_bytes
from trainwatt.power.nvidia import discovery
from trainwatt.testing import ScriptedCounter, VirtualClock

PACKAGE = Device("cpu:boot/package-0", "cpu", "Chip", "measured", "RAPL energy counter")
HOLDS_300_MB = """
import sys
block = bytearray(b"x") * 300_000_000
print(flush=True)
sys.stdin.read()
"""
OTHERS = os.getpid() + 100_000

use = st.floats(0, 1e6, allow_subnormal=False)


@given(uses=st.lists(use, min_size=1, max_size=8), by_nobody_known=use)
def test_parts_of_disjoint_processes_add_up_to_the_machine_at_most(uses: list[float], by_nobody_known: float) -> None:
    everyones = sum(uses) + by_nobody_known
    parts = [part_of_use(ours, everyones) for ours in uses]
    assert all(0 <= part <= 1 for part in parts)
    assert sum(parts) <= 1 + 1e-9


@given(
    rounds=st.lists(
        st.tuples(st.floats(0, 1e3), st.floats(0, 4), st.floats(0, 4), st.floats(0, 4)), min_size=1, max_size=20
    )
)
def test_joules_of_disjoint_processes_add_up_to_the_counters_at_most(rounds: list[tuple[float, ...]]) -> None:
    """Each round the counter counts some joules, two processes of ours use CPU time, and the rest of the machine."""
    counted_j = 0.0
    used_s = [0.0, 0.0, 0.0]
    clock = VirtualClock(0.0)
    parts = [
        AttributedCounter(
            ScriptedCounter(clock, lambda _: counted_j, device=PACKAGE),
            CpuShare(lambda each=each: used_s[each], lambda: sum(used_s)),  # type: ignore[misc]
            "CPU time",
        )
        for each in range(2)
    ]
    ours_j = 0.0
    for joules, *seconds in rounds:
        counted_j += joules
        used_s = [before + more for before, more in zip(used_s, seconds, strict=True)]
        ours_j = sum(part.joules() for part in parts)
    assert ours_j <= counted_j * (1 + 1e-9)


def test_a_packages_part_is_an_estimate_of_another_device_for_each_process(tmp_path: Path) -> None:
    found = rapl.find(root=PowercapTree(tmp_path).root, boot_id="boot")
    (whole, *_), (ours, *_) = found.meters, rapl.our_part(found.meters, VirtualClock())
    assert isinstance(ours, Counter)
    assert ours.device.method == "estimated"
    assert whole.device.method == "measured"
    assert ours.device.id.startswith(f"{whole.device.id}/process-{os.getpid()}-")
    assert "share of this process" in ours.device.note
    assert ours.joules() == 0


def test_a_wrap_around_is_no_jump() -> None:
    clock = VirtualClock(0.0)
    counter = ScriptedCounter(clock, lambda time_s: 100 * time_s, wraps_at_j=1000.0, device=PACKAGE)
    part = AttributedCounter(counter, lambda: 0.5, "CPU time")
    for _ in range(30):
        clock.now_s += 3.0
        part.joules()
    assert part.joules() == pytest.approx(0.5 * 100 * 90)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A procfs on which processes have the names that the driver knows."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026531836]")
    return tmp_path


def part_of_board(
    library: standin.Library, host: Path, board: standin.Board, *, seconds: float = 60.0
) -> tuple[Device, float, float]:
    """Our part of a board: the device, its joules, and the board's own."""
    clock = VirtualClock(1000.03)
    with library.running(board, clock=clock) as machine:
        (meter,) = discovery.find(scope="process", clock=clock, environ={}, proc_root=host).meters
        assert isinstance(meter, Counter)
        began_s, before_j = clock.now_s, meter.joules()
        while clock.now_s < began_s + seconds:
            clock.now_s += 1.0
            joules = meter.joules() - before_j
        return meter.device, joules, machine.truth_j(began_s, clock.now_s)


@pytest.mark.parametrize("ours", [0.0, 0.25, 1.0])
def test_a_board_is_shared_by_what_each_process_computes_on_it(
    nvml_library: standin.Library, host: Path, ours: float
) -> None:
    board = standin.h100(standin.Constant(400), processes=(0, OTHERS), process_shares=(ours, 1 - ours))
    device, joules, board_j = part_of_board(nvml_library, host, board)
    assert joules == pytest.approx(ours * board_j, rel=0.03, abs=1)
    assert device.method == "estimated"
    assert "GPU utilisation" in device.source


def test_a_board_that_rests_is_shared_by_all_who_hold_it(nvml_library: standin.Library, host: Path) -> None:
    board = standin.h100(standin.Constant(70), processes=(0, OTHERS, OTHERS + 1), process_shares=(0.0, 0.0, 0.0))
    _, joules, board_j = part_of_board(nvml_library, host, board)
    assert joules == pytest.approx(board_j / 3, rel=0.03)


def test_a_board_without_a_counter_is_shared_too(nvml_library: standin.Library, host: Path) -> None:
    clock = VirtualClock(1000.03)
    board = standin.p100(standin.Constant(200), processes=(0, OTHERS), process_shares=(0.5, 0.5), noise_w=0.0)
    with nvml_library.running(board, clock=clock):
        clock.now_s += 5.0
        (meter,) = discovery.find(scope="process", clock=clock, environ={}, proc_root=host).meters
        assert isinstance(meter, Gauge)
        clock.now_s += 1.0
        watts = [reading.watts for reading in meter.readings()]
    assert watts
    assert watts == pytest.approx([100.0] * len(watts), rel=0.02)


@pytest.mark.parametrize("why", ["driver", "container"])
def test_where_it_cannot_be_told_the_whole_board_counts_and_says_so(
    nvml_library: standin.Library, host: Path, why: str
) -> None:
    board = standin.h100(standin.Constant(400), processes=(0,), process_utilisation=why != "driver")
    if why == "container":
        (host / "self/ns/pid").unlink()
        (host / "self/ns/pid").symlink_to("pid:[4026532999]")
    device, joules, board_j = part_of_board(nvml_library, host, board)
    assert joules == pytest.approx(board_j, rel=0.01)
    assert device.method == "measured"
    assert "the whole GPU is counted" in device.note


def test_in_a_container_a_slice_counts_whole_with_its_share_of_the_board(
    nvml_library: standin.Library, host: Path
) -> None:
    (host / "self/ns/pid").unlink()
    (host / "self/ns/pid").symlink_to("pid:[4026532999]")
    slices = (standin.Slice("MIG-1", 3, 1),)
    board = standin.h100(standin.Constant(400), slices=slices, processes=(OTHERS,), process_slices=(0,))
    device, joules, board_j = part_of_board(nvml_library, host, board)
    assert joules == pytest.approx(board_j * 3 / 7, rel=0.01)
    assert device.method == "estimated"


def test_our_memory_is_a_part_of_what_is_in_use() -> None:
    clock = VirtualClock()
    ours = proportional_bytes(os.getpid())
    share = MemoryShare(lambda: 10 * ours, clock)
    assert share() == pytest.approx(0.1, rel=0.05)
    with subprocess.Popen([sys.executable, "-c", HOLDS_300_MB], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        clock.now_s += 11.0
        assert share() == pytest.approx((ours + 300e6) / (10 * ours), rel=0.15)
        child.communicate()


def test_memory_of_a_worker_counts_within_seconds() -> None:
    clock = VirtualClock()
    ours = proportional_bytes(os.getpid())
    share = MemoryShare(lambda: 10 * ours, clock)
    before = share()
    with subprocess.Popen([sys.executable, "-c", HOLDS_300_MB], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        # A look costs milliseconds here. One that costs more is repeated less often.
        clock.now_s += 10.0
        assert share() == pytest.approx(before + 300e6 / (10 * ours), rel=0.15)
        child.communicate()


def test_ticks_by_which_the_machine_lags_are_made_up_for() -> None:
    """The kernel counts our time exactly, but that of the machine in ticks, now before and now after it."""
    ours_s, everyones_s = 0.0, 0.0
    share = CpuShare(lambda: ours_s, lambda: everyones_s)
    share()
    attributed_s = 0.0
    for turn in range(100):
        ours_s += 1.0
        step_s = 0.96 if turn % 2 else 1.04
        everyones_s += step_s
        attributed_s += share() * step_s
    assert attributed_s == pytest.approx(100.0, rel=0.005)


def test_a_burst_of_time_is_not_charged_for_minutes_afterwards() -> None:
    ours_s, everyones_s = 0.0, 0.0
    share = CpuShare(lambda: ours_s, lambda: everyones_s)
    share()
    ours_s, everyones_s = 500.0, 10.0
    assert share() == 1.0
    attributed_s = 0.0
    for _ in range(100):
        everyones_s += 10.0
        attributed_s += share() * 10.0
    assert attributed_s <= 1.0


def test_a_share_that_cannot_be_read_is_no_reading() -> None:
    def fails() -> float:
        raise OSError("no procfs")

    with pytest.raises(SourceError, match="no procfs"):
        CpuShare(fails, lambda: 1.0)()


def test_nothing_of_our_part_of_a_machine_claims_to_be_measured(tmp_path: Path) -> None:
    found = discover(("cpu", "ram"), scope="process", powercap=PowercapTree(tmp_path).root)
    kinds: Sequence[str] = [meter.device.kind for meter in found.meters]
    assert {*kinds} == {"cpu", "ram"}
    assert any("RAPL" in meter.device.note for meter in found.meters)
    assert {meter.device.method for meter in found.meters} == {"estimated"}
    assert all("/process-" in meter.device.id for meter in found.meters)
