"""Share of a device's energy that is attributed to our processes, for ``scope="process"``: always an estimate.

The energy of a device between two readings, its idle energy included, is divided among the processes that used it in
that time, in proportion to their use. Scaphandre attributes a host's power to processes by CPU time in the same way
(its documentation, "How scaphandre computes per process power consumption"). The shares of all processes therefore add
up to at most the device's energy. Energy of a time in which nobody used the device is attributed to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from trainwatt.errors import SourceError
from trainwatt.power.device import Counter, Device, Gauge, Meter, Reading, Replaceable
from trainwatt.power.host.boot_id import process_id

# A judgement: equal use may draw unequal power.
_RANGE = (0.5, 1.5)

# A step of a counter that its device cannot draw in this time was misread.
_LONGEST_S = 86_400.0

ShareSince = Callable[[], float]
"""Function that returns our share, 0 to 1, of the use of a device since its last call; raises SourceError."""


def part_of_use(ours: float, everyones: float) -> float:
    """Return our share of the use of a device, 0 to 1; 0 if nobody used it.

    Args:
        ours: Use by our processes.
        everyones: Use by all processes, in the same unit.
    """
    return min(1.0, max(0.0, ours) / everyones) if everyones > 0 else 0.0


def our_part(device: Device, by: str) -> Device:
    """Describe our share of a device, with an id that is unique to this process.

    Args:
        device: The whole device.
        by: Measure of use that determines the share, e.g. ``"CPU time"``.
    """
    note = f"share of this process and its children by {by}; source of the whole device: {device.source}"
    return replace(
        device,
        id=f"{device.id}/{process_id()}",
        method="estimated",
        source=f"our share by {by}",
        low=device.low * _RANGE[0],
        high=device.high * _RANGE[1],
        cause=f"share by {by}",
        covers=(),
        note="; ".join(filter(None, (device.note, note))),
        max_w=device.max_w if device.method == "estimated" else device.bound_w,
    )


class AttributedCounter:
    """`Counter` of our share of another counter's joules.

    Args:
        meter: Counter of the whole device.
        share: Returns our share of it.
        by: Measure of use that determines the share, e.g. ``"CPU time"``.
    """

    wraps_at_j = None
    refresh_s = 0.0

    def __init__(self, meter: Counter, share: ShareSince, by: str) -> None:
        self.device = our_part(meter.device, by)
        self.max_gap_s = meter.max_gap_s
        self._meter, self._share, self._by = meter, share, by
        self._raw_j = meter.joules()
        self._ours_j = 0.0
        share()

    def joules(self) -> float:
        """Return our joules since construction.

        Raises:
            SourceError: The counter or our share of it could not be read; a later read may succeed.
        """
        share, raw_j = self._share(), self._meter.joules()
        step_j = raw_j - self._raw_j
        if step_j < 0:
            step_j = max(0.0, step_j + (self._meter.wraps_at_j or 0.0))
        # What is possible in a shorter time is checked with the time, by the reader of this counter.
        if not step_j <= _LONGEST_S * self._meter.device.bound_w:
            raise SourceError(f"its energy counter reads {raw_j:.6g} J, which it cannot have counted")
        self._raw_j = raw_j
        self._ours_j += share * step_j
        return self._ours_j

    def watts(self) -> None:
        """Return None: no sensor measures our share."""
        return

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        gauge = self._meter.fallback() if isinstance(self._meter, Replaceable) else None
        return AttributedGauge(gauge, self._share, self._by) if gauge else None


class AttributedGauge:
    """`Gauge` of our share of another gauge's power; arguments as for `AttributedCounter`."""

    def __init__(self, meter: Gauge, share: ShareSince, by: str) -> None:
        self.device = our_part(meter.device, by)
        self.max_gap_s = meter.max_gap_s
        self._meter, self._share, self._by = meter, share, by

    def readings(self) -> Sequence[Reading]:
        """See :class:`trainwatt.power.device.Gauge`."""
        share = self._share()
        return [Reading(reading.time_s, share * reading.watts) for reading in self._meter.readings()]

    def fallback(self) -> Gauge | None:
        """See :class:`trainwatt.power.device.Replaceable`."""
        gauge = self._meter.fallback() if isinstance(self._meter, Replaceable) else None
        return AttributedGauge(gauge, self._share, self._by) if gauge else None


def part_of(meter: Meter, share: ShareSince, by: str) -> Meter:
    """Return a meter of our share of another meter; arguments as for `AttributedCounter`."""
    return AttributedCounter(meter, share, by) if isinstance(meter, Counter) else AttributedGauge(meter, share, by)
