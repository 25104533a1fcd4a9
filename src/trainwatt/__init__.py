"""Energy, emissions and cost of a training run, measured around the framework's own events.

The names in ``__all__`` of trainwatt, trainwatt.live, trainwatt.export, trainwatt.testing and of the plugins are
public. Everything else is private and may change in any release.

Each name is imported on first use, so that ``import trainwatt.units`` loads one small module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainwatt.version import __version__

if TYPE_CHECKING:
    from trainwatt import errors, export, live
    from trainwatt.api import estimate, measure
    from trainwatt.errors import ArgumentError
    from trainwatt.footprint.lifetime import lifetime
    from trainwatt.records.job_reader import merge, read_run
    from trainwatt.records.recorded_run import RecordedRun
    from trainwatt.reporting.comparison import Comparison, compare
    from trainwatt.site import Site
    from trainwatt.stopping.reason import StopReason
    from trainwatt.tracking.green_stopper import GreenStopper
    from trainwatt.tracking.sinks import Sink
    from trainwatt.tracking.tracker import Run, Tracker

__all__ = [
    "ArgumentError",
    "Comparison",
    "GreenStopper",
    "RecordedRun",
    "Run",
    "Sink",
    "Site",
    "StopReason",
    "Tracker",
    "__version__",
    "compare",
    "errors",
    "estimate",
    "export",
    "lifetime",
    "live",
    "measure",
    "merge",
    "read_run",
]

# the module that each name is imported from; a submodule is imported from this package itself
_HOMES = {
    "ArgumentError": "trainwatt.errors",
    "Comparison": "trainwatt.reporting.comparison",
    "GreenStopper": "trainwatt.tracking.green_stopper",
    "RecordedRun": "trainwatt.records.recorded_run",
    "Run": "trainwatt.tracking.tracker",
    "Sink": "trainwatt.tracking.sinks",
    "Site": "trainwatt.site",
    "StopReason": "trainwatt.stopping.reason",
    "Tracker": "trainwatt.tracking.tracker",
    "compare": "trainwatt.reporting.comparison",
    "errors": "trainwatt",
    "estimate": "trainwatt.api",
    "export": "trainwatt",
    "lifetime": "trainwatt.footprint.lifetime",
    "live": "trainwatt",
    "measure": "trainwatt.api",
    "merge": "trainwatt.records.job_reader",
    "read_run": "trainwatt.records.job_reader",
}

_MONITORS = "trainwatt_lightning.FootprintMonitor, trainwatt_keras.FootprintMonitor or "
_MONITORS += "trainwatt_transformers.FootprintCallback"
_STOPPERS = "trainwatt_lightning.GreenEarlyStopping, trainwatt_keras.GreenEarlyStopping or "
_STOPPERS += "trainwatt_transformers.GreenEarlyStoppingCallback"
_IN_PLUGINS = {
    "FootprintCallback": _MONITORS,
    "FootprintMonitor": _MONITORS,
    "GreenEarlyStopping": _STOPPERS,
    "GreenEarlyStoppingCallback": _STOPPERS,
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        home = _HOMES[name]
        return import_module(f"{home}.{name}") if home == __name__ else getattr(import_module(home), name)
    if name in _IN_PLUGINS:
        # not an AttributeError: the import statement would replace its message
        raise ImportError(f"{name} is in the package of your framework: {_IN_PLUGINS[name]}", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
