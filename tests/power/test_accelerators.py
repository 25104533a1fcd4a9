from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trainwatt.errors import ArgumentError
from trainwatt.power.accelerators import (
    CUDA,
    Accelerator,
    accelerators_of,
    named_accelerators,
    noun_of,
    with_uncounted,
)
from trainwatt.power.device import KINDS, Device, Found, Missing
from trainwatt.testing import ConstantCounter, VirtualClock

MI300X = Accelerator("ROCm", 0, name="AMD Instinct MI300X")
H100 = Accelerator(CUDA, 0, "GPU-5f1c2a00-0000-0000-0000-000000000001", "NVIDIA H100 80GB HBM3")


def torch_like(kind: str, index: int | None = None) -> Any:
    return SimpleNamespace(type=kind, index=index)


def jax_like(platform: str, index: int = 0, version: str = "") -> Any:
    client = SimpleNamespace(platform_version=version)
    return SimpleNamespace(
        platform=platform, id=index + 8, local_hardware_id=index, device_kind="a kind", client=client
    )


class Integer:
    """An integer of another library."""

    def __index__(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (2, [2]),
        ([2], [2]),
        ((0, 2, 0), [0, 2]),
        (range(2), [0, 1]),
        (Integer(), [3]),
        ("2", [2]),
        ("0,2", [0, 2]),
        ("cuda:2", [2]),
        ("cuda", [0]),
        (["cuda:1", "gpu:0"], [1, 0]),
        ("/device:GPU:1", [1]),
        ("/job:localhost/replica:0/task:0/device:GPU:1", [1]),
        (torch_like("cuda", 2), [2]),
        ([torch_like("cuda"), torch_like("cuda", 1)], [0, 1]),
        (jax_like("gpu", 1), [1]),
        ([0, "cuda:0", torch_like("cuda", 0)], [0]),
    ],
)
def test_gpus_are_named_by_number_by_name_and_by_device(gpus: object, expected: list[int]) -> None:
    assert [(each.platform, each.index) for each in named_accelerators(gpus)] == [(CUDA, index) for index in expected]


@pytest.mark.parametrize(
    "gpus", ["GPU-5f1c2a", "5f1c2a00-0000-0000-0000-000000000001", "MIG-5f1c2a", "MIG-GPU-5f1c2a/3/0"]
)
def test_gpus_are_named_by_uuid(gpus: str) -> None:
    assert named_accelerators(gpus) == (Accelerator(CUDA, uuid=gpus),)


@pytest.mark.parametrize(
    ("gpus", "platform"), [("xpu:0", "XPU"), ("mps", "MPS"), (torch_like("xpu", 0), "XPU"), (jax_like("tpu"), "TPU")]
)
def test_other_accelerators_can_be_named_too(gpus: object, platform: str) -> None:
    assert [each.platform for each in named_accelerators(gpus)] == [platform]


@pytest.mark.parametrize(
    "gpus",
    [-1, 1.5, True, None, "", "cpu", "two", "cuda:x", "cuda:-1", [], [[0]], {"gpu": 0}, ["cpu", 0], b"GPU-1"],
    ids=repr,
)
def test_what_names_no_gpu_is_refused_by_the_name_of_the_argument(gpus: object) -> None:
    with pytest.raises(ArgumentError, match=r"^gpus="):
        named_accelerators(gpus)


def test_the_cpu_of_a_framework_is_not_an_accelerator() -> None:
    assert accelerators_of([torch_like("cpu"), torch_like("meta"), jax_like("cpu")]) == ()
    assert accelerators_of([torch_like("cpu"), torch_like("cuda", 1)]) == (Accelerator(CUDA, 1),)


@pytest.mark.parametrize("devices", [[], [object()], [torch_like("cuda", 0), 7]])
def test_devices_that_cannot_be_understood_are_unknown(devices: list[object]) -> None:
    assert accelerators_of(devices) is None


@pytest.mark.parametrize(
    ("device", "platform"),
    [
        (torch_like("mps", 0), "MPS"),
        (torch_like("hpu", 0), "HPU"),
        (jax_like("gpu", 0, "PJRT C API\nrocm 60300"), "ROCm"),
        (jax_like("gpu", 0, "PJRT C API\ncuda 12080"), CUDA),
        (jax_like("tpu"), "TPU"),
    ],
)
def test_a_framework_says_the_maker_in_its_own_way(device: object, platform: str) -> None:
    (accelerator,) = accelerators_of([device]) or ()
    assert accelerator.platform == platform


@pytest.mark.parametrize(
    ("accelerator", "label", "noun"),
    [
        (MI300X, "AMD Instinct MI300X", "GPU"),
        (Accelerator("ROCm", 2), "ROCm GPU 2", "GPU"),
        (Accelerator("TPU", 0), "TPU accelerator 0", "accelerator"),
    ],
)
def test_an_accelerator_without_a_name_is_called_by_platform_and_number(
    accelerator: Accelerator, label: str, noun: str
) -> None:
    assert accelerator.label == label
    assert noun_of(accelerator.platform) == noun


def found(clock: VirtualClock, *ids: str, missing: tuple[Missing, ...] = ()) -> Found:
    devices = (Device(each, "gpu", "NVIDIA H100 80GB HBM3", "measured", "a counter") for each in ids)
    return Found(tuple(ConstantCounter(clock, 300.0, device=device) for device in devices), missing)


@pytest.mark.parametrize(
    "device_id",
    [f"gpu:{H100.uuid}", f"gpu:{H100.uuid}/MIG-1", f"gpu:{H100.uuid}/process-1-2", f"gpu:X/MIG-{H100.uuid[4:]}"],
)
def test_a_gpu_that_a_meter_reads_whole_or_in_part_is_counted(clock: VirtualClock, device_id: str) -> None:
    machine = found(clock, device_id)
    assert with_uncounted(machine, (H100,), KINDS) == machine
    assert with_uncounted(machine, (Accelerator(CUDA, 0),), KINDS) == machine


def test_a_gpu_that_no_meter_reads_is_named_with_the_drivers_reason_in_one_warning(clock: VirtualClock) -> None:
    reason = Missing("gpu", "NVML", "its library cannot be found", "docker run --gpus all", warn=True)
    other = Missing("cpu", "RAPL", "not readable", warn=True)
    marked = with_uncounted(found(clock, "gpu:GPU-2", missing=(other, reason)), (H100,), KINDS)
    (device,) = marked.uncounted
    assert (device.id, device.name, device.method) == (f"gpu:{H100.uuid}", H100.name, "not counted")
    assert marked.missing[0] == other
    (missing,) = marked.missing[1:]
    assert missing.warn
    assert missing.remedy == reason.remedy
    assert H100.name in missing.why
    assert reason.why in missing.why


def test_eight_gpus_of_another_maker_are_eight_rows_and_one_warning(clock: VirtualClock) -> None:
    eight = [Accelerator("ROCm", number, name="AMD Instinct MI300X") for number in range(8)]
    marked = with_uncounted(found(clock, "gpu:GPU-2"), eight, KINDS)
    assert len({device.id for device in marked.uncounted}) == 8
    (missing,) = marked.missing
    assert "8 x AMD Instinct MI300X" in missing.why
    assert missing.warn


def test_gpus_that_the_user_leaves_out_are_named_without_a_warning(clock: VirtualClock) -> None:
    marked = with_uncounted(found(clock), (MI300X,), ("cpu", "ram"))
    assert [device.name for device in marked.uncounted] == [MI300X.name]
    assert [missing.warn for missing in marked.missing] == [False]
