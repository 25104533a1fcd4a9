"""Energy at the plug: what GPUs, CPUs and memory are read to draw, times a factor for the rest of the machine.

Power supply, fans, mainboard, disks and network have no meter of their own. Two kinds of factor cover them. A typical
one, from published measurements, is only reported. A calibrated one, measured on this host, enters the footprint before
the PUE: energy read, at the plug, of the facility, emissions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainwatt.errors import ArgumentError
from trainwatt.footprint.footprint import PLUG, Footprint
from trainwatt.power.device import KINDS, Device, Kind, Missing
from trainwatt.quantity import Quantity, spread
from trainwatt.site import Factor, Site
from trainwatt.site.premises import sign_of_gpus

Machine = Literal["desktop", "GPU server", "server"]
Basis = Literal["typical", "calibrated"]

# Fischer 2025: 318 runs of 80 models on one desktop (i9-13900K, RTX 4090), CodeCarbon's sum of GPU, CPU and memory
# against a wall meter. Wall over readings, by model: median 1.39, 5th to 95th percentile 1.23 to 1.60; in total, 1.25
# for language models on the GPU, 1.37 for vision models on the GPU, 1.48 on the CPU alone.
# Server: a judgement. Nodes of eight H100 at their limit of 5.6 kW drew 7.0 to 7.1 kW in MLPerf Training v4.0 (AC
# power, smc-ac-power), and up to 8.4 kW in Latif et al. 2024; two CPUs and the memory take about 0.6 kW of it: 1.14 and
# 1.35.
# Liquid cooling saves the fans; the power supplies alone take 2 to 4 %.
TYPICAL: Mapping[Machine, Factor] = {
    "desktop": Factor(
        PLUG,
        1.39,
        1.23,
        1.60,
        "",
        "Fischer (arXiv:2509.22092), 318 runs with a wall meter",
        "2025",
        "typical desktop",
        "at the plug over the readings of GPU, CPU and memory; not part of emissions, water and cost",
    ),
    "GPU server": Factor(
        PLUG,
        1.20,
        1.04,
        1.45,
        "",
        "MLPerf Training v4.0 power; Latif et al. (arXiv:2412.08602)",
        "2024",
        "typical GPU server",
        "at the plug over the readings of GPU, CPU and memory; a judgement from eight H100 at their limit; not part of "
        "emissions, water and cost",
    ),
    "server": Factor(
        PLUG,
        1.29,
        1.04,
        1.60,
        "",
        "the published desktop and GPU servers",
        "2024 to 2025",
        "other server",
        "no measurements of such a machine: the range spans those of a desktop and of GPU servers; not part of "
        "emissions, water and cost",
    ),
}

# Range of a calibration for later runs with another load, as a part of what the plug draws beyond the readings. On the
# desktop above, that part was 0.39 in the median and 0.23 to 0.60 in nine models out of ten.
_LESS, _MORE = 0.23 / 0.39, 0.60 / 0.39
# Error of a good wall meter or of a server's own.
_METER_ERROR = 0.02
_MOST = 3.0


@dataclass(frozen=True, slots=True)
class PlugEnergy:
    """Energy at the plug.

    Attributes:
        machine: kind of machine that a typical factor is for.
        kwh: the energy with its range; None if it is unknown.
        factor: energy at the plug over the energy read; None if unknown.
        basis: ``typical``, or ``calibrated`` on this host; None if unknown.
        uncounted: kinds of device that are not counted, so that no factor applies.
        hosts: number of hosts; a calibrated factor is that of the host that leads the run.
    """

    machine: Machine
    kwh: Quantity | None = None
    factor: Factor | None = None
    basis: Basis | None = None
    uncounted: tuple[Kind, ...] = ()
    hosts: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "machine": self.machine,
            "kwh": self.kwh.to_dict() if self.kwh else None,
            "factor": self.factor.to_dict() if self.factor else None,
            "basis": self.basis,
            "uncounted": list(self.uncounted),
            "hosts": self.hosts,
        }


def plug_energy(footprint: Footprint, devices: Sequence[Device], missing: Iterable[Missing], site: Site) -> PlugEnergy:
    """Return the energy at the plug.

    Args:
        footprint: of the run; if its energy at the plug was calibrated, in all attempts, it is that one.
        devices: the devices.
        missing: sources that cannot be read.
        site: place of the run, with the factor of this host if it was calibrated.

    Returns:
        The energy at the plug; without a figure if a kind of device is not counted and the factor is not calibrated.
    """
    machine, hosts = machine_of(devices, site), max(1, len(hosts_of(devices)))
    if site.plug is not None and footprint.plug_kwh is not None:
        return PlugEnergy(machine, footprint.plug_kwh, site.plug, "calibrated", hosts=hosts)
    left_out = uncounted(devices, missing)
    if left_out:
        return PlugEnergy(machine, uncounted=left_out, hosts=hosts)
    factor = TYPICAL[machine]
    return PlugEnergy(machine, footprint.energy_kwh.times(factor), factor, "typical", hosts=hosts)


def machine_of(devices: Iterable[Device], site: Site) -> Machine:
    """Return the kind of machine, by the models of its GPUs and their number on a host, else by its place."""
    devices = tuple(devices)
    gpus = [device.name for device in devices if device.kind == "gpu"]
    per_host = math.ceil(len(gpus) / max(1, len(hosts_of(devices))))
    by_model = any(sign_of_gpus([name]) for name in set(gpus))
    if by_model or sign_of_gpus(gpus[:per_host]):
        return "GPU server"
    assumed = any("data centre" in factor.basis for factor in (site.pue, site.wue))
    return "server" if site.cloud or assumed else "desktop"


def hosts_of(devices: Iterable[Device]) -> frozenset[str]:
    """Return the boot ids of the hosts whose CPU or memory is counted; see :mod:`trainwatt.power.host.boot_id`."""
    return frozenset(device.id.partition(":")[2].partition("/")[0] for device in devices if device.kind != "gpu")


def uncounted(devices: Iterable[Device], missing: Iterable[Missing]) -> tuple[Kind, ...]:
    """Return the kinds of device that are not counted although the machine has them, or may have them.

    A kind without a device was left out by the user. GPUs are an exception: a machine without any is complete if they
    were searched for, which leaves a `Missing` without a warning.

    Args:
        devices: the devices; one that covers several kinds counts for all of them.
        missing: sources that cannot be read.
    """
    devices, searched = tuple(devices), [each for each in missing if each.kind == "gpu"]
    counted = {kind for each in devices if each.method != "not counted" for kind in (each.kind, *each.covers)}
    counted -= {device.kind for device in devices if device.method == "not counted"}
    if searched and not any(each.warn for each in searched) and not any(each.kind == "gpu" for each in devices):
        counted.add("gpu")
    return tuple(kind for kind in KINDS if kind not in counted)


def sources_of(devices: Iterable[Device]) -> dict[str, list[str]]:
    """Return the sources by kind: a calibration holds for runs that read the same ones."""
    pairs = sorted({(device.kind, device.source) for device in devices})
    return {kind: [source for other, source in pairs if other == kind] for kind in KINDS if kind in dict(pairs)}


def calibrate(read_kwh: Quantity, plug_kwh: Quantity, *, date: str, meter: str, given: tuple[str, object]) -> Factor:
    """Return the factor from the energy at the plug and the energy read in the same time.

    The range covers later runs with another load, the errors of the meter, and its resolution.

    Args:
        read_kwh: energy read, with its range.
        plug_kwh: energy at the plug; its range is the resolution of the meter.
        date: day of the measurement, ISO 8601.
        meter: e.g. ``a wall meter``.
        given: the user's argument and its value, for error messages.

    Raises:
        ArgumentError: if the plug drew less than was read, by more than the errors of both, or more than three times as
            much.
    """
    if read_kwh.central <= 0 or plug_kwh.central <= 0:
        raise ArgumentError(*given, "energy above 0 at the plug, and above 0 read by the devices in the same time")
    value = plug_kwh.central / read_kwh.central
    below, above = (spread((each / plug_kwh.central, 1 + _METER_ERROR)) for each in (plug_kwh.low, plug_kwh.high))
    told = f"{_wh(plug_kwh)} at the plug and {_wh(read_kwh)} read by the devices, {value:.2g} times as much"
    if plug_kwh.central * above < read_kwh.low:
        raise ArgumentError(*given, f"at least the energy that the devices drew, but there are {told}")
    if value > _MOST:
        expected = f"at most {_MOST:g} times the energy that the devices drew, but there are {told}"
        raise ArgumentError(*given, f"{expected}; is the meter for this machine alone, and for the same time?")
    low = min(1 + _LESS * (value - 1), value / below)
    high = max(1 + _MORE * (value - 1), value * above)
    return Factor(PLUG, value, low, high, "", f"calibrated {date} against {meter}", basis="this host")


def sources_text(known: Mapping[str, Collection[str]]) -> str:
    """Format the sources by kind, e.g. ``GPU: NVML total-energy counter; CPU: RAPL energy counter``."""
    return "; ".join(f"{kind.upper()}: {', '.join(sources)}" for kind, sources in known.items())


def _wh(kwh: Quantity) -> str:
    return f"{kwh.central * 1000:.4g} Wh"
