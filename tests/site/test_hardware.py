from __future__ import annotations

from typing import Any

import pytest

from trainwatt.errors import ArgumentError
from trainwatt.site import Factor, tables
from trainwatt.site.hardware import Hardware, embodied_factor, hardware_of

H100 = embodied_factor("NVIDIA H100 SXM 80GB")


@pytest.mark.parametrize("model", [row["model"] for row in tables.rows("hardware_embodied.csv")])
def test_every_model_is_found_by_its_own_name_with_range_and_source(model: str) -> None:
    factor = embodied_factor(model)
    assert factor is not None
    assert factor.name == f"embodied emissions of {model}"
    assert 0 < factor.low <= factor.value <= factor.high
    assert factor.source
    assert factor.basis


@pytest.mark.parametrize(
    ("driver", "model"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM 80GB"),
        ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe 80GB"),
        ("NVIDIA H100 NVL", "NVIDIA H100 NVL 94GB"),
        ("NVIDIA H200", "NVIDIA H200 SXM 141GB"),
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100 SXM4 40GB"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM4 80GB"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100 PCIe 80GB"),
        ("Tesla V100-SXM2-32GB", "NVIDIA Tesla V100 SXM2 32GB"),
        ("Tesla T4", "NVIDIA T4"),
        ("NVIDIA GeForce GTX 1080 Ti", "NVIDIA GTX 1080 Ti"),
        ("NVIDIA L40S", "NVIDIA L40S 48GB"),
    ],
)
def test_a_gpu_is_found_by_what_its_driver_calls_it(driver: str, model: str) -> None:
    factor = embodied_factor(driver)
    assert factor is not None
    assert factor.name == f"embodied emissions of {model}"


@pytest.mark.parametrize("model", ["", "NVIDIA", "NVIDIA A10G", "NVIDIA RTX 5000 Ada Generation", "Apple M3"])
def test_an_unknown_model_is_not_taken_for_another(model: str) -> None:
    assert embodied_factor(model) is None


def test_the_range_of_a_gpu_spans_what_sources_tell() -> None:
    assert H100 is not None
    assert (H100.low, H100.value, H100.high) == (116.0, 164.0, 575.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count=0"),
        ({"lifetime_years": 0}, "lifetime_years=0"),
        ({"lifetime_years": float("nan")}, "lifetime_years=nan"),
        ({"utilisation": 1.2}, "utilisation=1.2"),
        ({"utilisation": 0}, "utilisation=0"),
    ],
)
def test_hardware_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Hardware(Factor.given("embodied", 150, "kgCO2e"), **arguments)


def test_a_runs_boards_are_counted_by_model_and_unknown_ones_left_out() -> None:
    h100, a100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
    held = hardware_of([(h100, 1), (a100, 1 / 7), (h100, 1), ("NVIDIA Mystery 9000", 1)])
    assert [(hardware.device, hardware.count) for hardware in held] == [
        (embodied_factor(h100), 2),
        (embodied_factor(a100), 1 / 7),
    ]
    assert hardware_of([]) == ()
