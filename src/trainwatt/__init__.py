"""Energy, emissions and cost of a training run, measured around the framework's own events.

Nothing is imported until it is asked for, so that ``import trainwatt.units`` loads one small module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainwatt.version import __version__

if TYPE_CHECKING:
    from trainwatt.api import measure
    from trainwatt.records.job_reader import read_run
    from trainwatt.records.recorded_run import RecordedRun
    from trainwatt.reporting.comparison import Comparison, compare
    from trainwatt.site import Site
    from trainwatt.tracking.green_stopper import GreenStopper
    from trainwatt.tracking.tracker import Run, Tracker

__all__ = [
    "Comparison",
    "GreenStopper",
    "RecordedRun",
    "Run",
    "Site",
    "Tracker",
    "__version__",
    "compare",
    "measure",
    "read_run",
]

_HOMES = {
    "Comparison": "trainwatt.reporting.comparison",
    "GreenStopper": "trainwatt.tracking.green_stopper",
    "RecordedRun": "trainwatt.records.recorded_run",
    "Run": "trainwatt.tracking.tracker",
    "Site": "trainwatt.site",
    "Tracker": "trainwatt.tracking.tracker",
    "compare": "trainwatt.reporting.comparison",
    "measure": "trainwatt.api",
    "read_run": "trainwatt.records.job_reader",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
