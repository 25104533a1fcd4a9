"""A device that trains and that no meter covers: one warning, a row, the headline, no measured share."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from standins import nvml as standin
from standins.nvml import Code, Constant, Fault, h100
from trainwatt import GreenStopper, measure
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.errors import ArgumentError
from trainwatt.export.citation import markdown
from trainwatt.export.codecarbon import emissions_row
from trainwatt.export.model_card import co2_eq_emissions
from trainwatt.power.accelerators import CUDA, Accelerator
from trainwatt.power.device import Device
from trainwatt.power.nvidia import discovery
from trainwatt.records.job_reader import merge, read_run
from trainwatt.records.summary_view import summary_view
from trainwatt.reporting import html
from trainwatt.testing import ConstantCounter, VirtualClock, VirtualTracker

CPU = Device("cpu:boot/package-0", "cpu", "AMD EPYC 9654", "measured", "RAPL counter of the package")
MI300X = Accelerator("ROCm", 0, name="AMD Instinct MI300X")
WATTS = 100.0


def trained(
    clock: VirtualClock, trains_on: list[object] | None, caplog: pytest.LogCaptureFixture, **options: Any
) -> tuple[VirtualTracker, dict[str, float]]:
    tracker = VirtualTracker(clock, [ConstantCounter(clock, WATTS, device=CPU)], **options)
    with caplog.at_level(logging.WARNING, "trainwatt"), tracker.start(trains_on=trains_on) as run:
        for _ in run.epochs(1):
            run.advance(10.0)
        snapshot = run.snapshot()
    assert snapshot is not None
    return tracker, snapshot.metrics()


@pytest.mark.parametrize(
    ("device", "named"),
    [
        (MI300X, "GPU (AMD Instinct MI300X)"),
        (Accelerator("XPU", 0, name="Intel Data Center GPU Max 1550"), "GPU (Intel Data Center GPU Max 1550)"),
        (SimpleNamespace(type="mps", index=0), "GPU (Apple GPU)"),
        (Accelerator("TPU", 0, name="TPU v5e"), "accelerator (TPU v5e)"),
        (Accelerator(CUDA, 0, "GPU-77", "NVIDIA H100 80GB HBM3"), "GPU (NVIDIA H100 80GB HBM3)"),
    ],
    ids=["ROCm", "XPU", "MPS", "TPU", "CUDA without a driver's library"],
)
def test_a_device_that_trains_and_is_not_counted_is_named(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, device: object, named: str, tmp_path: Path
) -> None:
    run, metrics = trained(clock, [device], caplog, output_dir=tmp_path)
    (warning,) = caplog.messages
    assert named.partition("(")[2].rstrip(")") in warning
    summary = run.summary
    assert summary["total_j"] == pytest.approx(10 * WATTS, rel=0.01)
    assert summary["measured_share"] is None
    assert "energy/total_kwh" in metrics
    assert "energy/measured_share" not in metrics
    cpu, row = summary["devices"]
    assert (cpu["method"], row["method"], row["joules"]) == ("measured", "not counted", None)
    assert "not counted" in summary["missing"][0]["why"]
    view = summary_view(summary)
    assert f"without the {named}" in view.headline
    assert "measured" not in view.headline
    assert "not counted" in view.text()
    assert f"without the {named}" in view.line()
    page = html.report([read_run(summary.folder)])
    assert "not counted" in page
    assert f"without the {named}" in page


def test_a_cpu_that_trains_is_measured_as_ever(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    run, metrics = trained(clock, [SimpleNamespace(type="cpu", index=None)], caplog)
    assert caplog.messages == []
    assert run.summary["measured_share"] == metrics["energy/measured_share"] == 1
    assert "without" not in summary_view(run.summary).headline


def test_exports_say_it_too(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    summary = trained(clock, [MI300X], caplog)[0].summary
    assert "without the GPU (AMD Instinct MI300X)" in markdown(summary)
    assert "without the GPU (AMD Instinct MI300X)" in co2_eq_emissions(summary)["source"]
    assert emissions_row(summary)["gpu_energy"] == 0


def test_it_stays_known_in_a_resumed_run(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = trained(clock, [MI300X], caplog)
    again = VirtualTracker(clock, [ConstantCounter(clock, WATTS, device=CPU)])
    again.load_state_dict(first.state_dict())
    with again.start(trains_on=[SimpleNamespace(type="cpu", index=None)]) as run:
        run.advance(10.0)
    assert again.summary["measured_share"] is None
    assert "without the GPU" in summary_view(again.summary).headline


def test_a_rank_whose_gpu_is_not_counted_is_named_in_the_job(clock: VirtualClock, tmp_path: Path) -> None:
    gpu = Device("gpu:GPU-1", "gpu", "NVIDIA H100 80GB HBM3", "measured", "a counter")
    for rank, (meters, accelerator) in enumerate(
        [([ConstantCounter(clock, 300.0, device=gpu)], Accelerator(CUDA, 0, "GPU-1")), ([], MI300X)]
    ):
        tracker = VirtualTracker(clock, meters, output_dir=tmp_path, run_name=f"rank-{rank}")
        with tracker.start(trains_on=[accelerator], processes=ProcessGroup(rank, 2)) as run:
            run.advance(10.0)
    job = merge([path.parent for path in tmp_path.glob("**/summary.json")])
    assert {device["method"] for device in job["devices"]} == {"measured", "not counted"}
    assert job["measured_share"] is None


def test_a_gpu_that_one_rank_reads_is_counted_though_another_cannot(clock: VirtualClock, tmp_path: Path) -> None:
    gpu = Device("gpu:GPU-1", "gpu", "NVIDIA H100 80GB HBM3", "measured", "a counter")
    began_s = clock.now_s
    for rank, meters in enumerate(([], [ConstantCounter(clock, 300.0, device=gpu)])):
        clock.now_s = began_s
        tracker = VirtualTracker(clock, meters, output_dir=tmp_path, run_name=f"rank-{rank}")
        with tracker.start(trains_on=[Accelerator(CUDA, 0, "GPU-1")], processes=ProcessGroup(rank, 2)) as run:
            run.advance(10.0)
    job = merge([path.parent for path in tmp_path.glob("**/summary.json")])
    assert [device["method"] for device in job["devices"]] == ["measured"]
    assert job["total_j"] == pytest.approx(3000, rel=0.01)


def test_a_gpu_lost_before_the_start_is_not_counted(
    nvml_library: standin.Library, caplog: pytest.LogCaptureFixture
) -> None:
    lost = h100(Constant(300.0), faults=(Fault(Code.GPU_IS_LOST),))
    with nvml_library.running(lost, h100(Constant(100.0))) as machine:
        both = [Accelerator(CUDA, index, machine.uuid(index), "NVIDIA H100") for index in (0, 1)]
        tracker = measure(devices="gpu", output_dir=None, verbose=False)
        with tracker.start(trains_on=both):
            pass
    (warning,) = caplog.messages
    assert "NVIDIA H100" in warning
    assert [device["method"] for device in tracker.summary["devices"]] == ["measured", "not counted"]


@pytest.mark.parametrize("gpus", [[1], "cuda:1", "GPU-00000001", [SimpleNamespace(type="cuda", index=1)]])
def test_only_the_gpus_that_a_loop_names_are_measured(nvml_library: standin.Library, gpus: object) -> None:
    with nvml_library.running(h100(Constant(100.0)), h100(Constant(300.0))) as machine:
        with measure(devices="gpu", gpus=gpus, output_dir=None, verbose=False) as run:
            run.wait_until_settled()
        stopper = GreenStopper("max", min_gain_per_kwh=1.0, devices="gpu", gpus=gpus)
        with stopper:
            pass
    assert [device["id"] for device in run.summary["devices"]] == [f"gpu:{machine.uuid(1)}"]


@pytest.mark.parametrize("gpus", [2, [0, 7], "GPU-77", "cuda:2", "GPU-0000000"])
def test_a_gpu_that_does_not_exist_is_an_error_at_once(nvml_library: standin.Library, gpus: object) -> None:
    with nvml_library.running(h100(), h100()), pytest.raises(ArgumentError, match=r"^gpus=.*from 0 to 1"):
        measure(gpus=gpus)


def test_numbers_are_those_of_the_visible_gpus(nvml_library: standin.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    with nvml_library.running(h100(), h100(), h100()) as machine:
        with measure(devices="gpu", gpus=0, output_dir=None, verbose=False) as run:
            pass
        with pytest.raises(ArgumentError, match="from 0 to 1"):
            measure(gpus=2)
    assert [device["id"] for device in run.summary["devices"]] == [f"gpu:{machine.uuid(2)}"]


def test_named_gpus_contradict_devices_without_gpus() -> None:
    with pytest.raises(ArgumentError, match="devices="):
        measure(gpus=0, devices=("cpu", "ram"))


def test_a_gpu_that_a_loop_names_and_no_driver_lists_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert discovery.find(names=[0]).meters == ()
    with measure(gpus=[0], devices=("gpu", "ram"), output_dir=None, verbose=False) as run:
        pass
    assert len(caplog.messages) == 1
    assert "without the GPU (CUDA GPU 0)" in summary_view(run.summary).headline


class Torch:
    """PyTorch of AMD's wheels, as far as a loop of one's own shows which GPU it computes on."""

    def __init__(self) -> None:
        self.cuda = self
        self.version = SimpleNamespace(hip="6.3.42134")
        self.computes = False

    def is_initialized(self) -> bool:
        return self.computes

    def device_count(self) -> int:
        return 2

    def current_device(self) -> int:
        return 0

    def memory_reserved(self, index: int) -> int:
        return 2**20 * index if self.computes else 0

    def get_device_name(self, index: int) -> str:
        return f"AMD Instinct MI300X {index}"

    def get_device_properties(self, index: int) -> SimpleNamespace:
        return SimpleNamespace()


@pytest.mark.parametrize("when", ["before", "in the first epoch", "after the last epoch", "never"])
def test_a_loop_of_ones_own_is_asked_for_its_gpu_whenever_it_is_moved_there(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    torch = Torch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    torch.computes = when == "before"
    tracker = VirtualTracker(clock, [ConstantCounter(clock, WATTS, device=CPU)])
    with tracker as run:
        for _ in run.epochs(2):
            run.advance(1.0)
            torch.computes |= when == "in the first epoch"
            run.advance(1.0)
        torch.computes |= when == "after the last epoch"
    expected = [] if when == "never" else ["AMD Instinct MI300X 1"]
    assert [each["name"] for each in tracker.summary["devices"][1:]] == expected
    assert len(caplog.messages) == len(expected)
    assert (tracker.summary["measured_share"] is None) == bool(expected)


def test_two_runs_at_once_warn_once(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    trackers = [VirtualTracker(clock, [ConstantCounter(clock, WATTS, device=CPU)]) for _ in range(2)]
    for tracker in trackers:
        tracker.start(trains_on=[MI300X])
    for tracker in trackers:
        tracker.stop()
    assert len(caplog.messages) == 1
    assert all(tracker.summary["measured_share"] is None for tracker in trackers)


def test_a_gpu_that_the_user_and_the_framework_name_is_one(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    run, _ = trained(clock, [Accelerator("XPU", 0, name="Intel Arc")], caplog, gpus="xpu:0")
    assert [each["name"] for each in run.summary["devices"]] == [CPU.name, "Intel Arc"]
    assert len(caplog.messages) == 1
