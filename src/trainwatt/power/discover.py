"""What can be measured on this machine, by the best source for each kind of device."""

from __future__ import annotations

from collections.abc import Sequence

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.power import cpu, nvml, ram, rapl
from trainwatt.power.device import KINDS, Found, Kind, Scope


def discover(
    kinds: Sequence[Kind] = KINDS,
    *,
    scope: Scope = "machine",
    gpu_uuids: Sequence[str] | None = None,
    idle_w: float | None = None,
    full_w: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Found:
    """Find a meter for each device of the wanted kinds.

    A counter in the hardware comes first; where none can be read, a model takes its place. RAPL counts the whole
    machine, so ``scope="process"`` takes the model for our share of it.

    Args:
        kinds: the kinds of device that are wanted.
        scope: the whole machine, or our process's share of the CPU.
        gpu_uuids: the GPUs that a framework uses; None: all that ``CUDA_VISIBLE_DEVICES`` leaves.
        idle_w, full_w: the processor's watts at rest and at full load, where the user knows them.
        clock: where the time comes from.
    """
    found = Found()
    if "gpu" in kinds:
        found += nvml.find(clock=clock, uuids=gpu_uuids)
    if "cpu" in kinds or "ram" in kinds:
        found += _host(kinds, scope=scope, idle_w=idle_w, full_w=full_w, clock=clock)
    return found


def _host(kinds: Sequence[Kind], *, scope: Scope, idle_w: float | None, full_w: float | None, clock: Clock) -> Found:
    counted = rapl.find()
    if scope == "process":
        counted = Found(missing=counted.missing)
    meters = [meter for meter in counted.meters if meter.device.kind in kinds]
    found = Found(tuple(meters), counted.missing)
    have = {meter.device.kind for meter in meters}
    if "cpu" in kinds and "cpu" not in have:
        found += cpu.find(scope=scope, idle_w=idle_w, full_w=full_w, clock=clock)
    if "ram" in kinds and "ram" not in have:
        found += ram.find(clock=clock)
    return found
