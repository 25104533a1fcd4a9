"""Power over time at the resolution of a plot; the run folder keeps it instead of the raw samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trainwatt.accounting.timeline import Phase

_SHORTEST_S = 0.1
# Length of a stretch as a part of the run so far: about 3,000 stretches for a month, 300 for a minute.
_PART = 1 / 256


@dataclass(slots=True)
class Stretch:
    """Energy of all devices over some time.

    Attributes:
        joules: joules of all devices.
        seconds: time by phase.
    """

    joules: float = 0.0
    seconds: dict[Phase, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """Total time of all phases."""
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form, with six significant figures."""
        seconds = {phase: float(f"{value:.6g}") for phase, value in self.seconds.items()}
        return {"joules": float(f"{self.joules:.6g}"), "seconds": seconds}


class PowerHistory:
    """Consecutive stretches of time, each as long as 1/256 of the time before it, and at least 0.1 s.

    Their number grows with the logarithm of the time, and a closed stretch never changes. They can therefore be
    appended to a file as they close, and the file stays small.
    """

    def __init__(self) -> None:
        self._open = Stretch()
        self._closed: list[Stretch] = []
        self._total_s = 0.0

    def add(self, phase: Phase, seconds: float, joules: float) -> None:
        """Add time and energy.

        Args:
            phase: the phase of both.
            seconds: time since the last call.
            joules: joules of all devices since the last call.
        """
        if seconds <= 0 and joules <= 0:
            return
        self._open.seconds[phase] = self._open.seconds.get(phase, 0.0) + seconds
        self._open.joules += joules
        self._total_s += seconds
        if self._open.total_s >= max(_SHORTEST_S, _PART * self._total_s):
            self._close()

    def take(self, *, last: bool = False) -> list[Stretch]:
        """Return the stretches that were closed since the last call.

        Args:
            last: include the open one, since none will follow.
        """
        if last and self._open.seconds:
            self._close()
        taken, self._closed = self._closed, []
        return taken

    def _close(self) -> None:
        self._closed.append(self._open)
        self._open = Stretch()
