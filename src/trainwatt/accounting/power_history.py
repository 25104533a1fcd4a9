"""Power over time, as fine as a picture of the run needs it: what is left of the samples in the run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trainwatt.accounting.timeline import Phase

_SHORTEST_S = 0.1
_PART = 1 / 256  # of the run so far: a month takes some three thousand stretches, and a minute three hundred


@dataclass(slots=True)
class Stretch:
    """Some time, with the energy of all devices in it.

    Attributes:
        joules: of all devices.
        seconds: by phase.
    """

    joules: float = 0.0
    seconds: dict[Phase, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """All its time."""
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form, with six significant figures."""
        seconds = {phase: float(f"{value:.6g}") for phase, value in self.seconds.items()}
        return {"joules": float(f"{self.joules:.6g}"), "seconds": seconds}


class PowerHistory:
    """Stretches of time in their order, each as long as 1/256 of what lies before it, a tenth of a second at least.

    Their number grows with the logarithm of the time, so that none of them is ever changed: they can be written to a
    file as they come, and the file stays small.
    """

    def __init__(self) -> None:
        self._open = Stretch()
        self._closed: list[Stretch] = []
        self._total_s = 0.0

    def add(self, phase: Phase, seconds: float, joules: float) -> None:
        """Some more time and energy.

        Args:
            phase: in which it was.
            seconds: since the last call.
            joules: of all devices, since the last call.
        """
        if seconds <= 0 and joules <= 0:
            return
        self._open.seconds[phase] = self._open.seconds.get(phase, 0.0) + seconds
        self._open.joules += joules
        self._total_s += seconds
        if self._open.total_s >= max(_SHORTEST_S, _PART * self._total_s):
            self._close()

    def take(self, *, last: bool = False) -> list[Stretch]:
        """The stretches that were closed since this was last called.

        Args:
            last: with the open one, since none will follow.
        """
        if last and self._open.seconds:
            self._close()
        taken, self._closed = self._closed, []
        return taken

    def _close(self) -> None:
        self._closed.append(self._open)
        self._open = Stretch()
