"""Devices of a real PyTorch, as the plugins hand them over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from trainwatt.power.accelerators import CUDA, Accelerator, accelerators_in_use, accelerators_of, named_accelerators

CPU, FIRST, SECOND = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)
H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    uuids = {0: "b", 1: "a"}
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=uuids[index], name=H100)
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: H100)


@pytest.fixture
def rocm(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch of AMD's wheels after its first computation on GPU 1 of two."""
    monkeypatch.setattr(torch.version, "hip", "6.3.42134")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: index * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(name="AMD Instinct MI300X"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "AMD Instinct MI300X")


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_distinct_and_have_uuids() -> None:
    assert accelerators_of(iter([FIRST, SECOND, FIRST, CPU])) == (
        Accelerator(CUDA, 0, "b", H100),
        Accelerator(CUDA, 1, "a", H100),
    )


@pytest.mark.parametrize("device", [CPU, torch.device("meta")])
def test_without_gpus_there_is_no_accelerator(device: torch.device) -> None:
    assert accelerators_of([device]) == ()


def test_an_old_torch_reports_no_uuids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(name="H100"))
    assert accelerators_of([FIRST]) == (Accelerator(CUDA, 0, "", "H100"),)


def test_a_torch_without_a_driver_still_tells_which_device_it_is() -> None:
    assert accelerators_of([SECOND, torch.device("xpu", 0)]) == (Accelerator(CUDA, 1), Accelerator("XPU", 0))


def test_a_device_that_a_user_names_does_not_wake_the_driver() -> None:
    assert named_accelerators([SECOND, torch.device("cuda")]) == (Accelerator(CUDA, 1), Accelerator(CUDA, 0))
    assert not torch.cuda.is_initialized()


def test_a_torch_that_has_computed_on_no_accelerator_uses_none() -> None:
    assert accelerators_in_use() == ()


@pytest.mark.usefixtures("rocm")
def test_amds_gpus_are_not_taken_for_nvidias() -> None:
    expected = Accelerator("ROCm", 1, "", "AMD Instinct MI300X")
    assert accelerators_of([SECOND]) == accelerators_in_use() == (expected,)
    assert named_accelerators(1)[0].platform == "ROCm"
