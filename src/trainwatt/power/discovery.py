"""What can be measured on this machine, by the best source for each kind of device.

The sources are imported when they are asked for: a program that only imports a plugin pays nothing for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.power.device import KINDS, Found, Kind, Missing, Scope

_DRIVER_S = 30.0  # eight boards that have been asleep take some seconds each to wake


def discover(
    kinds: Sequence[Kind] = KINDS,
    *,
    scope: Scope = "machine",
    gpu_uuids: Sequence[str] | None = None,
    idle_w: float | None = None,
    full_w: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
    powercap: Path = Path("/sys/class/powercap"),
) -> Found:
    """Find a meter for each device of the wanted kinds.

    A counter in the hardware comes first; where none can be read, a model takes its place. With ``scope="process"`` our
    processes' share of each device is counted, and told as an estimate: see `part`.

    Args:
        kinds: the kinds of device that are wanted.
        scope: the whole machine, or our processes' share of it.
        gpu_uuids: the GPUs that a framework uses; None: all that ``CUDA_VISIBLE_DEVICES`` leaves.
        idle_w: the processor's watts at rest, where the user knows them.
        full_w: its watts at full load, likewise.
        clock: where the time comes from.
        powercap: where the kernel shows RAPL.
    """
    found = Found()
    if "gpu" in kinds:
        found += _within(_DRIVER_S, lambda: _gpus(scope, clock, gpu_uuids))
    covered = {kind for meter in found.meters for kind in meter.device.covers}
    host = [kind for kind in kinds if kind != "gpu" and kind not in covered]
    if host:
        from trainwatt.power.host import cpu_model, ram_model, rapl  # noqa: PLC0415  # see above

        counted = rapl.find(root=powercap)
        meters = tuple(meter for meter in counted.meters if meter.device.kind in host)
        if scope == "process":
            meters = rapl.our_part(meters, clock)
        found += Found(meters, counted.missing)
        host = [kind for kind in host if kind not in {meter.device.kind for meter in meters}]
        if "cpu" in host:
            found += cpu_model.find(scope=scope, idle_w=idle_w, full_w=full_w, clock=clock)
        if "ram" in host:
            found += ram_model.find(scope=scope, clock=clock)
    return found


def _gpus(scope: Scope, clock: Clock, uuids: Sequence[str] | None) -> Found:
    from trainwatt.power.nvidia import discovery  # noqa: PLC0415  # see above

    return discovery.find(scope=scope, clock=clock, uuids=uuids)


def _within(limit_s: float, find: Callable[[], Found]) -> Found:
    """What is found in a thread of its own, as a driver may never return; what it raises is raised here."""
    answer: futures.Future[Found] = futures.Future()

    def ask() -> None:
        try:
            answer.set_result(find())
        except BaseException as error:  # noqa: BLE001  # for whoever waits
            answer.set_exception(error)

    threading.Thread(target=ask, name="trainwatt-discover", daemon=True).start()
    try:
        return answer.result(limit_s)
    except futures.TimeoutError:  # not the builtin one in Python 3.10
        why = f"the NVIDIA driver has not answered within {limit_s:g} s"
        return Found(missing=(Missing("gpu", "NVML", why, "see: sudo dmesg | grep -i nvrm", warn=True),))
