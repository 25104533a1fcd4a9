"""Slices of a GPU: runs on them are charged their shares, and together never more than the GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins import nvml as standin
from standins.nvml import Constant, Slice, a100, h100
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.power.device import Device
from trainwatt.power.nvidia import discovery
from trainwatt.power.nvidia.mig import held_gpus, pooled, share_range
from trainwatt.records.job_reader import merge, read_run
from trainwatt.records.snapshot import energy_range
from trainwatt.records.summary import Summary
from trainwatt.records.summary_view import summary_view
from trainwatt.testing import VirtualClock, VirtualTracker

SEVEN = tuple(Slice(f"MIG-{number}", 1, gpu_instance=number) for number in range(7))
WATTS, SECONDS = 210.0, 100.0
WHOLE_J = WATTS * SECONDS

WHOLE = Device("gpu:GPU-1", "gpu", "NVIDIA A100-SXM4-80GB", "measured", "NVML total-energy counter", 0.94, 1.06)


def part(number: int, share: float, gpu: str = "GPU-1") -> Device:
    low, high = share_range(share)
    name, source = "NVIDIA A100-SXM4-80GB", "NVML total-energy counter"
    return Device(f"gpu:{gpu}/MIG-{number}", "gpu", name, "estimated", source, 0.94 * low, 1.06 * high, share)


@pytest.fixture
def runs(nvml_library: standin.Library, clock: VirtualClock, tmp_path: Path) -> list[Summary]:
    """Seven runs at once, each on a slice of its own of one GPU; run folders in ``tmp_path``."""
    with nvml_library.running(a100(Constant(WATTS), slices=SEVEN), clock=clock):
        trackers = []
        for number, each in enumerate(SEVEN):
            found = discovery.find(clock=clock, environ={"CUDA_VISIBLE_DEVICES": each.uuid})
            tracker = VirtualTracker(clock, found.meters, devices="gpu", output_dir=tmp_path, run_name=f"run-{number}")
            trackers.append(tracker.start(processes=ProcessGroup(number, 7)))
        for tracker in trackers:
            tracker.begin("train")
        # the trackers have a sampler each, on one clock: each second is that of all
        for _ in range(round(SECONDS)):
            clock.now_s += 1.0
            for tracker in trackers:
                tracker.advance(0.0)
        for tracker in trackers:
            tracker.end("train")
        for tracker in trackers:
            tracker.stop()
    return [read_run(folder).summary for folder in sorted(tmp_path.glob("**/summary.json"))]


def test_seven_runs_on_seven_slices_are_charged_the_energy_of_one_gpu(runs: list[Summary]) -> None:
    assert len(runs) == 7
    trained_j = [sum(run["phases"]["train"]["joules"].values()) for run in runs]
    assert trained_j == pytest.approx([WHOLE_J / 7] * 7, rel=0.01)
    assert sum(trained_j) == pytest.approx(WHOLE_J, rel=0.01)
    assert len({run["devices"][0]["id"] for run in runs}) == 7


def test_the_range_of_a_slice_reaches_from_an_idle_slice_to_the_whole_gpu(runs: list[Summary]) -> None:
    for run in runs:
        assert run["measured_share"] == 0
        assert run["total_kwh_high"] * 3.6e6 >= WHOLE_J
        # one that idles at a tenth of the limit beside six at the limit drew 0.1 / 0.87 of its share
        assert run["total_kwh_low"] * 3.6e6 <= WHOLE_J / 7 * 0.1 / 0.87
        assert "estimated" in summary_view(run).text()
        assert "14% of its GPU" in summary_view(run).text()


def test_merged_runs_on_all_slices_are_the_gpu_once(runs: list[Summary], tmp_path: Path) -> None:
    whole = merge([run.parent for run in sorted(tmp_path.glob("**/summary.json"))])
    assert whole["total_j"] == pytest.approx(sum(run["total_j"] for run in runs))
    assert whole["total_kwh_high"] == pytest.approx(whole["total_kwh"] * 1.06)
    assert whole["total_kwh_low"] == pytest.approx(whole["total_kwh"] * 0.94)
    one = [run["footprint"]["embodied_kg"]["central"] for run in runs]
    assert whole["footprint"]["embodied_kg"]["central"] == pytest.approx(sum(one), rel=0.02)


def test_a_slice_holds_its_share_of_the_embodied_emissions(nvml_library: standin.Library, clock: VirtualClock) -> None:
    embodied = []
    slices = (Slice("MIG-3", 3, gpu_instance=1), Slice("MIG-4", 4, gpu_instance=2))
    for board in (h100(Constant(WATTS)), h100(Constant(WATTS), slices=slices)):
        with nvml_library.running(board, clock=clock):
            found = discovery.find(clock=clock, environ={"CUDA_VISIBLE_DEVICES": "0"})
            with VirtualTracker(clock, found.meters, devices="gpu") as run:
                run.advance(3600.0)
        embodied.append(run.summary["footprint"]["embodied_kg"]["central"])
    whole_kg, three_kg = embodied
    assert three_kg == pytest.approx(whole_kg * 3 / 7, rel=1e-3)


@given(st.floats(0.01, 1.0))
def test_a_range_holds_idle_and_busy_neighbours_and_that_of_a_whole_gpu_is_none(share: float) -> None:
    low, high = share_range(share)
    assert 0 < low <= 1 <= high
    idle, most = 0.1, 1.0
    # the other slices are idle: the whole GPU's power less the idle power of the others
    busy_alone = idle + (most - idle) * share
    assert share * busy_alone * high >= busy_alone - idle * (1 - share)
    # ours are idle, the others busy
    idle_alone = idle + (most - idle) * (1 - share)
    assert share * idle_alone * low <= idle * share * (1 + 1e-9)
    assert share_range(1.0) == (1.0, 1.0)


def test_slices_of_one_gpu_have_the_range_of_what_they_hold_together() -> None:
    three, four, other = part(3, 3 / 7), part(4, 4 / 7), part(5, 1 / 7, gpu="GPU-2")
    pooled_three, pooled_four, pooled_other = pooled((three, four, other))
    assert (pooled_three.low, pooled_three.high) == pytest.approx((0.94, 1.06))
    assert (pooled_four.low, pooled_four.high) == pytest.approx((0.94, 1.06))
    assert (pooled_other.low, pooled_other.high) == pytest.approx((other.low, other.high))
    assert pooled((WHOLE,)) == (WHOLE,)
    total = energy_range({three.id: 300.0, four.id: 400.0}, pooled((three, four)))
    assert total.high == pytest.approx(total.central * 1.06)


def test_a_gpu_is_held_once_whoever_reads_it() -> None:
    shared = Device(
        "gpu:GPU-1/MIG-3/process-7-1", "gpu", WHOLE.name, "estimated", "our share by processes", share=3 / 7
    )
    again = Device("gpu:GPU-1/MIG-3/process-8-1", "gpu", WHOLE.name, "estimated", "our share by processes", share=3 / 7)
    processes = [Device(f"gpu:GPU-2/process-{n}-1", "gpu", WHOLE.name, "estimated", "our share") for n in (1, 2)]
    assert held_gpus([WHOLE, part(1, 1 / 7)]) == [(WHOLE.name, 1.0)]
    assert held_gpus([shared, again, part(1, 1 / 7)]) == [(WHOLE.name, pytest.approx(4 / 7))]
    assert held_gpus(processes) == [(WHOLE.name, 1.0)]
    assert held_gpus([Device("cpu:1", "cpu", "EPYC", "measured", "RAPL")]) == []
