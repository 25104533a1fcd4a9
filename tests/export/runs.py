"""A run to export."""

from __future__ import annotations

from typing import Any

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.power.device import Device
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.site import Site

GPUS = tuple(
    Device(f"gpu:{n}", "gpu", "NVIDIA H100 80GB HBM3", "measured", "NVML total-energy counter", 0.95, 1.05)
    for n in range(8)
)
CPU = Device("cpu:1", "cpu", "AMD EPYC 9654", "estimated", "model by CPU utilisation", 0.5, 1.5)
RAM = Device("ram:1", "ram", "512 GB of memory", "estimated", "model by memory size", 0.4, 1.9)


def summary_at(site: Site) -> dict[str, Any]:
    """The summary of a run of 10 kWh in two hours: 8 GPUs, a processor and its memory."""
    joules = {**{gpu.id: 4_050_000.0 for gpu in GPUS}, CPU.id: 2_700_000.0, RAM.id: 900_000.0}
    phases: dict[Phase, Span] = {"train": Span(7200.0, joules, 5, 1000)}
    return RunSnapshot("run", "finished", 1.79e9, 1.79e9 + 7200, phases, {}, 5, (*GPUS, CPU, RAM), site).summary()
