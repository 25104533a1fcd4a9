"""Energy, emissions and cost of a training run, measured around the framework's own events.

Nothing is imported until it is asked for, so that ``import trainwatt.units`` loads one small module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainwatt.version import __version__

if TYPE_CHECKING:
    from trainwatt.api import measure
    from trainwatt.comparison import Comparison, compare
    from trainwatt.green import GreenStopper
    from trainwatt.jobs import read_run
    from trainwatt.recorded import RecordedRun
    from trainwatt.run import Run
    from trainwatt.site import Site

__all__ = ["Comparison", "GreenStopper", "RecordedRun", "Run", "Site", "__version__", "compare", "measure", "read_run"]

_HOMES = {
    "Comparison": "trainwatt.comparison",
    "GreenStopper": "trainwatt.green",
    "RecordedRun": "trainwatt.recorded",
    "Run": "trainwatt.run",
    "Site": "trainwatt.site",
    "compare": "trainwatt.comparison",
    "measure": "trainwatt.api",
    "read_run": "trainwatt.jobs",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
