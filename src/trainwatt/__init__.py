"""trainwatt: what a training run takes, measured around the framework's own events."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainwatt.run import Run, measure
from trainwatt.site import Site

if TYPE_CHECKING:
    from trainwatt.comparison import Comparison, compare
    from trainwatt.green import GreenStopper
    from trainwatt.jobs import read_run
    from trainwatt.recorded import RecordedRun

__all__ = ["Comparison", "GreenStopper", "RecordedRun", "Run", "Site", "compare", "measure", "read_run"]
__version__ = "0.1.0"

_LATER = {  # what only some programs need is imported when it is asked for
    "Comparison": "trainwatt.comparison",
    "GreenStopper": "trainwatt.green",
    "RecordedRun": "trainwatt.recorded",
    "compare": "trainwatt.comparison",
    "read_run": "trainwatt.jobs",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
