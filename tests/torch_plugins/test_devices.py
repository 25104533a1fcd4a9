from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from trainwatt_torch.devices import gpu_uuids

CPU, FIRST, SECOND = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    uuids = {FIRST: "b", SECOND: "a"}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuids[device]))


@pytest.mark.usefixtures("two_gpus")
def test_uuids_are_sorted_and_distinct() -> None:
    assert gpu_uuids(iter([FIRST, SECOND, FIRST])) == ("a", "b")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("devices", [[], [CPU], [FIRST, CPU]], ids=["none", "cpu", "mixed"])
def test_without_gpus_only_there_are_no_uuids(devices: list[torch.device]) -> None:
    assert gpu_uuids(devices) is None


def test_an_old_torch_reports_no_uuids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(name="H100"))
    assert gpu_uuids([FIRST]) is None
