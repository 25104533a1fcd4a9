"""Discovery of the devices that can be measured on this machine, each with its best source.

The modules of the sources are imported on demand: a program that only imports a plugin does not load them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from trainwatt.clock import SYSTEM_CLOCK, Clock
from trainwatt.containment import error_text
from trainwatt.errors import ArgumentError
from trainwatt.power.accelerators import CUDA, Accelerator
from trainwatt.power.device import KINDS, Found, Kind, Missing, Scope


def discover(
    kinds: Sequence[Kind] = KINDS,
    *,
    scope: Scope = "machine",
    accelerators: Sequence[Accelerator] | None = None,
    idle_w: float | None = None,
    full_w: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
    powercap: Path = Path("/sys/class/powercap"),
) -> Found:
    """Find a meter for each device of the wanted kinds.

    A hardware counter is preferred; if none can be read, a model is used. With ``scope="process"``, our processes'
    share of each device is counted and marked as an estimate: see :mod:`trainwatt.power.attribution`.

    Each source is a boundary: one that fails, or a driver that does not respond within a second, is named among those
    that are missing, and costs no other source.

    Args:
        kinds: Kinds of device that are wanted.
        scope: The whole machine, or our processes' share of it.
        accelerators: Accelerators that the program computes on. Other GPUs are left out; if it is None or empty, all
            that ``CUDA_VISIBLE_DEVICES`` selects are found.
        idle_w: Idle power of the CPU in watts, if the user knows it.
        full_w: Its power at full load in watts, if the user knows it.
        clock: Source of the time.
        powercap: Folder in which Linux shows the RAPL counters.
    """
    found = Found()
    if "gpu" in kinds:
        found += _contained("gpu", "NVML", lambda: _find_gpus(scope, clock, accelerators or ()))
    covered = {kind for meter in found.meters for kind in meter.device.covers}
    host_kinds = [kind for kind in kinds if kind != "gpu" and kind not in covered]
    if not host_kinds:
        return found
    counted = _contained(host_kinds[0], "RAPL", lambda: _find_counters(host_kinds, scope, clock, powercap))
    counted_kinds = {meter.device.kind for meter in counted.meters}
    rest = [kind for kind in host_kinds if kind not in counted_kinds]
    return found + counted + _find_models(rest, scope, clock, idle_w, full_w)


def unknown_gpus(accelerators: Sequence[Accelerator]) -> str:
    """Describe which of some GPUs do not exist, and which do; empty if all exist, or if no driver can list them.

    Args:
        accelerators: GPUs that the user names.
    """
    names = _nvml_names(accelerators)
    try:
        from trainwatt.power.nvidia import discovery as nvidia_discovery  # noqa: PLC0415

        unknown, count = nvidia_discovery.unknown_names(names or ())
    # Then no driver can list them; the reason is given when the run starts.
    except Exception:  # noqa: BLE001
        return ""
    if not unknown:
        return ""
    known = f"numbers from 0 to {count - 1}" if count else "no GPU"
    return f"GPUs that exist, each by an unambiguous name: {unknown} matches none; this process can use {known}"


def _find_gpus(scope: Scope, clock: Clock, accelerators: Sequence[Accelerator]) -> Found:
    from trainwatt.power.nvidia import discovery as nvidia_discovery  # noqa: PLC0415

    if accelerators and all(each.platform != CUDA for each in accelerators):
        return Found()
    return nvidia_discovery.find(scope=scope, clock=clock, names=_nvml_names(accelerators))


def _nvml_names(accelerators: Sequence[Accelerator]) -> list[int | str] | None:
    """Return the names by which NVML's GPUs can be found; None if there are none, or one is unknown."""
    names = [each.uuid or each.index for each in accelerators if each.platform == CUDA]
    return [name for name in names if name is not None] if names and None not in names else None


def _find_counters(kinds: Collection[Kind], scope: Scope, clock: Clock, powercap: Path) -> Found:
    """Find the RAPL counters of some kinds of device."""
    from trainwatt.power.host import rapl  # noqa: PLC0415

    counted = rapl.find(root=powercap)
    meters = tuple(meter for meter in counted.meters if meter.device.kind in kinds)
    return Found(rapl.our_part(meters, clock) if scope == "process" else meters, counted.missing)


def _find_models(
    kinds: Collection[Kind], scope: Scope, clock: Clock, idle_w: float | None, full_w: float | None
) -> Found:
    """Find a model for each kind of device without a counter."""
    found = Found()
    if "cpu" in kinds:
        found += _contained("cpu", "CPU model", lambda: _find_cpu_model(scope, clock, idle_w, full_w))
    if "ram" in kinds:
        found += _contained("ram", "RAM model", lambda: _find_ram_model(scope, clock))
    return found


def _find_cpu_model(scope: Scope, clock: Clock, idle_w: float | None, full_w: float | None) -> Found:
    from trainwatt.power.host import cpu_model  # noqa: PLC0415

    return cpu_model.find(scope=scope, idle_w=idle_w, full_w=full_w, clock=clock)


def _find_ram_model(scope: Scope, clock: Clock) -> Found:
    from trainwatt.power.host import ram_model  # noqa: PLC0415

    return ram_model.find(scope=scope, clock=clock)


def _contained(kind: Kind, source: str, find: Callable[[], Found]) -> Found:
    """Find the meters of a source; whatever it raises makes it a missing one.

    Args:
        kind: Kind of device that it measures.
        source: Its name.
        find: Finds its meters.

    Raises:
        ArgumentError: The user's figures are invalid.
    """
    try:
        return find()
    except ArgumentError:
        raise
    except Exception as error:  # noqa: BLE001
        return Found(missing=(Missing(kind, source, f"the search for it failed: {error_text(error)}", warn=True),))
