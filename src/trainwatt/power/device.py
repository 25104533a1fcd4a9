"""Devices that draw power, and the two kinds of meter that read them: counters and gauges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from trainwatt.containment import error_text

Kind = Literal["gpu", "cpu", "ram"]
Method = Literal["measured", "estimated", "not counted"]
Scope = Literal["machine", "process"]

KINDS: tuple[Kind, ...] = ("gpu", "cpu", "ram")

# No GPU, no CPU package and no package's memory draws more. The largest of 2025 are rated at 1,400 W (B300), 500 W
# (EPYC 9965) and about 200 W (12 modules).
_BOUND_W: dict[Kind, float] = {"gpu": 2_000.0, "cpu": 1_000.0, "ram": 500.0}
# An estimate may stand for a whole host, and for the hosts of a rack: one of 72 GPUs (GB200 NVL72) is rated at 132 kW.
_ESTIMATE_BOUND_W = 200_000.0


@dataclass(frozen=True, slots=True)
class Device:
    """Device that draws power.

    Attributes:
        id: Identity that is the same in every process and on every host that can see the device:
            ``gpu:<NVML UUID>``, ``cpu:<boot id>/package-0``, ``ram:<boot id>``.
        kind: ``gpu``, ``cpu`` or ``ram``.
        name: Product name, e.g. ``NVIDIA H100 80GB HBM3``.
        method: ``measured`` or ``estimated``; ``not counted``: the program computes on it, but no meter reads it.
        source: Source of its energy in a few words, e.g. ``NVML total-energy counter``.
        low, high: Limits of the true energy, as multiples of the reported energy: a 90% CI
            (``0 < low <= 1 <= high``).
        cause: Cause of the error, e.g. ``CPU model``. Devices of the same cause err alike, on every host. Empty: kind
            and source.
        common: Correlation of its error with those of the same cause, 0 to 1; 1: the whole error is shared.
        share: Fraction of its GPU whose energy this device is charged, 0 to 1 (a MIG slice); None if it is no part of
            another device.
        covers: Kinds of device whose energy is included, so that they are not counted again. The counter of a Grace
            Hopper includes the whole module.
        note: Remark for the user, or an empty string.
        max_w: Watts that it cannot exceed while a meter averages its power; None if unknown.
    """

    id: str
    kind: Kind
    name: str
    method: Method
    source: str
    low: float = 1.0
    high: float = 1.0
    share: float | None = None
    covers: tuple[Kind, ...] = ()
    note: str = ""
    cause: str = ""
    common: float = 1.0
    max_w: float | None = None

    @property
    def bound_w(self) -> float:
        """Highest power in watts that its meter is believed: `max_w`; if unknown, that of its kind.

        Higher for an estimate, which may stand for a whole host.
        """
        if self.max_w is not None:
            return self.max_w
        return _ESTIMATE_BOUND_W if self.method == "estimated" else _BOUND_W.get(self.kind, _ESTIMATE_BOUND_W)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Device:
        """Restore a device from its fields, ignoring others that a summary or another version may have.

        Raises:
            TypeError: if it has no id, kind, name, method or source.
        """
        known = {name: value for name, value in state.items() if name in _FIELDS}
        return cls(**{**known, "covers": tuple(known.get("covers", ()))})

    @property
    def error_cause(self) -> str:
        """Cause of the error; by default kind and source."""
        return self.cause or f"{self.kind}: {self.source}"


_FIELDS = frozenset(each.name for each in fields(Device))


class Reading(NamedTuple):
    """Mean power over a window, at the time of the window's centre.

    Attributes:
        time_s: Centre of the window, in seconds on the monotonic clock.
        watts: Mean power over the window.
    """

    time_s: float
    watts: float


@runtime_checkable
class Counter(Protocol):
    """Meter that counts joules, so that none are missed between two readings."""

    @property
    def device(self) -> Device:
        """Device that is read."""
        ...

    @property
    def wraps_at_j(self) -> float | None:
        """Joules after which the counter starts again from 0; None if it does not wrap around."""
        ...

    @property
    def max_gap_s(self) -> float:
        """Longest time between two readings that misses no wrap-around; ``math.inf`` without wrap-around."""
        ...

    @property
    def refresh_s(self) -> float:
        """Approximate upper limit of the update interval of the counter; 0 if it is always current."""
        ...

    def joules(self) -> float:
        """Read the joules since an arbitrary origin.

        Raises:
            SourceError: The read failed; a later one may succeed.
            SourceLostError: The source is lost for good.
        """
        ...

    def watts(self) -> float | None:
        """Read the present power from a second sensor, to check the counter; None if there is no such sensor."""
        ...


@runtime_checkable
class Gauge(Protocol):
    """Meter that reports power: a sensor without a counter."""

    @property
    def device(self) -> Device:
        """Device that is read."""
        ...

    @property
    def max_gap_s(self) -> float:
        """Longest time between two calls that misses no reading: depth of a driver's buffer, period of a sensor."""
        ...

    def readings(self) -> Sequence[Reading]:
        """Return the readings since the last call, oldest first; may be empty.

        Raises:
            SourceError: The read failed; a later one may succeed.
            SourceLostError: The source is lost for good.
        """
        ...


@runtime_checkable
class Replaceable(Protocol):
    """Meter with a fallback, in case it fails while its device can still be read in another way."""

    def fallback(self) -> Gauge | None:
        """Return the next best meter of the same device; None if there is none."""
        ...


Meter = Counter | Gauge


@dataclass(frozen=True, slots=True)
class Missing:
    """Source that cannot be read on this machine.

    Attributes:
        kind: Kind of device that it would have measured.
        source: Its name, e.g. ``RAPL``.
        why: Reason, in one sentence.
        remedy: Command or setting that would fix it, ready to copy; empty if there is none.
        warn: True if the user should be warned: a missing permission is worth a warning, missing hardware is not.
    """

    kind: Kind
    source: str
    why: str
    remedy: str = ""
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Meters that were found on this machine, and sources that cannot be read.

    Attributes:
        meters: One meter per device.
        missing: Sources that cannot be read, and why.
        uncounted: Devices that the program computes on, and that no meter covers.
    """

    meters: tuple[Meter, ...] = ()
    missing: tuple[Missing, ...] = ()
    uncounted: tuple[Device, ...] = ()

    def without_broken(self) -> Found:
        """Return what was found without the meters that fail to describe their device, which become missing sources."""
        sound: list[Meter] = []
        broken: list[Missing] = []
        for meter in self.meters:
            source = type(meter).__name__
            try:
                described = isinstance(meter.device, Device) and isinstance(meter, (Counter, Gauge))
                why = "" if described else "it is neither a counter nor a gauge of a device"
            # A meter may be the user's own.
            except Exception as error:  # noqa: BLE001
                why = error_text(error)
            if why:
                broken.append(Missing("gpu", source, f"the meter is broken: {why}", warn=True))
            else:
                sound.append(meter)
        return Found(tuple(sound), (*self.missing, *broken), self.uncounted) if broken else self

    def __add__(self, other: Found) -> Found:
        return Found(self.meters + other.meters, self.missing + other.missing, self.uncounted + other.uncounted)
