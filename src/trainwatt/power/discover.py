"""What can be measured on this machine, by the best source for each kind of device.

The sources are imported when they are asked for: a program that only imports a plugin pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainwatt.clock import SYSTEM_CLOCK, Clock
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
        idle_w: the processor's watts at rest, where the user knows them.
        full_w: its watts at full load, likewise.
        clock: where the time comes from.
    """
    found = Found()
    if "gpu" in kinds:
        from trainwatt.power import nvml  # noqa: PLC0415  # see above

        found += nvml.find(clock=clock, uuids=gpu_uuids)
    if "cpu" in kinds or "ram" in kinds:
        found += _host(kinds, scope=scope, idle_w=idle_w, full_w=full_w, clock=clock)
    return found


def _host(kinds: Sequence[Kind], *, scope: Scope, idle_w: float | None, full_w: float | None, clock: Clock) -> Found:
    from trainwatt.power import cpu, ram, rapl  # noqa: PLC0415  # see above

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
