"""What draws power, and the two ways in which it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Kind = Literal["gpu", "cpu", "ram"]
Method = Literal["measured", "estimated"]
Scope = Literal["machine", "process"]

KINDS: tuple[Kind, ...] = ("gpu", "cpu", "ram")


@dataclass(frozen=True, slots=True)
class Device:
    """Something that draws power.

    Attributes:
        id: an identity that holds in every process and on every host that can see the device:
            ``gpu:<NVML UUID>``, ``cpu:<boot id>/package-0``, ``ram:<boot id>``.
        kind: what it is.
        name: its name as a person knows it, e.g. ``NVIDIA H100 80GB HBM3``.
        method: whether its energy is ``measured`` or ``estimated``.
        source: how, in a few words, e.g. ``NVML total-energy counter``.
        low, high: the true energy lies between ``low`` and ``high`` times the figure, in about 9 of 10 cases
            (``0 < low <= 1 <= high``).
        share: the part of a shared board that is attributed to this process, 0 to 1 (a MIG slice);
            None where the whole device counts.
        covers: kinds of device whose energy is in this figure, so that they are not counted again: the counter of a
            Grace Hopper is the whole module's.
        note: what a reader of the figure should know, or nothing.
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


class Reading(NamedTuple):
    """Power at a moment: the centre of the window that the figure is a mean of.

    Attributes:
        time_s: seconds on the monotonic clock.
        watts: mean power of the window.
    """

    time_s: float
    watts: float


@runtime_checkable
class Counter(Protocol):
    """A device that counts its own joules: no aliasing, and a step needs no read."""

    @property
    def device(self) -> Device:
        """What it reads."""
        ...

    @property
    def wraps_at_j(self) -> float | None:
        """The counter starts again from 0 after this many joules; None: it does not wrap."""
        ...

    @property
    def max_gap_s(self) -> float:
        """To miss no wrap-around, read at least this often; ``math.inf`` where it does not wrap."""
        ...

    @property
    def refresh_s(self) -> float:
        """About how long the figure stands still between two refreshes, at most; 0 where it is always current."""
        ...

    def joules(self) -> float:
        """Joules since an arbitrary origin.

        Raises:
            SourceError: no figure this time.
            SourceLostError: no figure any more.
        """
        ...

    def watts(self) -> float | None:
        """Power now from a second sensor, to check the counter by; None where there is none."""
        ...


@runtime_checkable
class Gauge(Protocol):
    """A device that tells its power: a sensor without a counter."""

    @property
    def device(self) -> Device:
        """What it reads."""
        ...

    @property
    def max_gap_s(self) -> float:
        """To miss no reading, ask at least this often: the depth of a driver's buffer, the period of a sensor."""
        ...

    def readings(self) -> Sequence[Reading]:
        """Readings since the last call, oldest first; may be empty.

        Raises:
            SourceError: no figure this time.
            SourceLostError: no figure any more.
        """
        ...


@runtime_checkable
class Replaceable(Protocol):
    """A meter that may turn out to be broken while another way to read its device remains."""

    def fallback(self) -> Gauge | None:
        """The next best meter of the same device, or None."""
        ...


Meter = Counter | Gauge


@dataclass(frozen=True, slots=True)
class Missing:
    """A source that cannot be read on this machine.

    Attributes:
        kind: the kind of device it would have measured.
        source: its name, e.g. ``RAPL``.
        why: the reason, in one sentence.
        remedy: what would mend it, exact enough to type; empty where nothing would.
        warn: whether a user should be told without asking: a missing permission is worth a warning,
            the absence of the hardware is not.
    """

    kind: Kind
    source: str
    why: str
    remedy: str = ""
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What one source, or all of them, can read here."""

    meters: tuple[Meter, ...] = ()
    missing: tuple[Missing, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(self.meters + other.meters, self.missing + other.missing)
