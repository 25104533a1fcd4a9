"""Entry points of the package: functions that a user calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainwatt.reporting.run_sinks import run_sinks
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.tracker import Tracker

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.settings import Options


def measure(**options: Unpack[Options]) -> Tracker:
    """Measure a block of code, or a loop of one's own.

    >>> with measure(zone="FR", output_dir=None, verbose=False) as run:
    ...     for epoch in run.epochs(2):
    ...         run.step()
    ...         with run.phase("validate"):
    ...             pass
    >>> run.summary["phases"]["train"]["steps"]
    2

    For those who cannot indent: ``run = measure().start()``, and at the end ``run.stop()``.

    Args:
        options: where it runs, what to measure, where to write; see :class:`trainwatt.tracking.settings.Settings`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """
    settings = Settings.check(**options)
    return Tracker(settings, run_sinks(settings))
