"""Power meters that a server has itself: IPMI, ACPI and Cray."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trainwatt.errors import SourceError
from trainwatt.power.host.pseudo_file import is_file, read_text, text_or_empty
from trainwatt.units import MICRO

_IPMITOOL = "ipmitool"
_IPMI_S = 20.0
# A rack of 72 GPUs (GB200 NVL72) is rated at 132 kW; a node draws less.
MOST_W = 200_000.0
"""Watts that no node draws."""
_WATTS = re.compile(r"Instantaneous power reading:\s*(\d+(?:\.\d+)?)\s*Watts", re.IGNORECASE)
_STATE = re.compile(r"Power reading state is:\s*(\w+)", re.IGNORECASE)


class PlugMeter(NamedTuple):
    """Meter of a whole machine.

    Attributes:
        name: with its article, e.g. ``the server's IPMI``.
        watts: reads the present power; raises SourceError if that fails.
    """

    name: str
    watts: Callable[[], float]


def ipmi() -> PlugMeter:
    """Return the meter that ``ipmitool dcmi power reading`` reads; it mostly needs root.

    Raises:
        SourceError: ipmitool is missing, or it reports no power.
    """
    command = shutil.which(_IPMITOOL)
    if command is None:
        raise SourceError("ipmitool is not installed")
    meter = PlugMeter("the server's IPMI", lambda: _ipmi_w(command))
    meter.watts()
    return meter


def own_meter(sys_root: Path = Path("/sys")) -> PlugMeter:
    """Return the node's own meter that Linux shows: Cray's counters, or an ACPI power meter.

    Args:
        sys_root: Mount point of sysfs.

    Raises:
        SourceError: there is none, or it cannot be read.
    """
    cray = sys_root / "cray/pm_counters/power"
    if is_file(cray):
        return _checked(PlugMeter("the node's Cray power counter", lambda: _watts(cray)))
    for folder in sorted((sys_root / "class/hwmon").glob("hwmon*")):
        # The kernel's driver acpi_power_meter has this name; other sensors are those of devices.
        if text_or_empty(folder / "name") == "power_meter":
            file = next((folder / name for name in ("power1_average", "power1_input") if is_file(folder / name)), None)
            if file is not None:
                return _checked(PlugMeter("the node's ACPI power meter", lambda file=file: _watts(file, MICRO)))  # type: ignore[misc]
    raise SourceError("Linux shows no power meter of the whole node")


def _checked(meter: PlugMeter) -> PlugMeter:
    meter.watts()
    return meter


def _ipmi_w(command: str) -> float:
    try:
        done = subprocess.run(  # noqa: S603
            [command, "dcmi", "power", "reading"], capture_output=True, text=True, timeout=_IPMI_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"ipmitool failed: {error}") from None
    if done.returncode:
        why = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise SourceError(f"ipmitool dcmi power reading failed: {why or f'exit code {done.returncode}'}")
    watts, state = _WATTS.search(done.stdout), _STATE.search(done.stdout)
    if watts is None or not 0 < float(watts[1]) <= MOST_W or (state and state[1].lower() != "activated"):
        raise SourceError("ipmitool dcmi power reading reports no power")
    return float(watts[1])


def _watts(file: Path, unit: float = 1.0) -> float:
    """Read the first number of a file, ``215000000`` or ``215 W 1700000000 us``, in watts.

    Args:
        file: The file.
        unit: Watts per unit of the number.
    """
    try:
        text = read_text(file).strip()
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from None
    try:
        watts = float(text.split()[0]) * unit
    except (IndexError, ValueError):
        raise SourceError(f"{file} cannot be read as a number: {text[:80]!r}") from None
    if not watts > 0:
        raise SourceError(f"{file} reports no power")
    if watts > MOST_W:
        raise SourceError(f"{file} reports {watts:.3g} W, which no node draws")
    return watts
