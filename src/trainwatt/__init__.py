"""trainwatt: what a training run takes, measured around the framework's own events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainwatt.comparison import Comparison, compare
from trainwatt.recorded import RecordedRun, read_run
from trainwatt.run import Run, measure
from trainwatt.site import Site

if TYPE_CHECKING:
    from trainwatt.green import GreenStopper

__all__ = ["Comparison", "GreenStopper", "RecordedRun", "Run", "Site", "compare", "measure", "read_run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What only some programs need is imported when it is asked for."""
    if name == "GreenStopper":
        from trainwatt.green import GreenStopper  # noqa: PLC0415

        return GreenStopper
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
