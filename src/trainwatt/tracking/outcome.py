"""Status of a run from the exception that ended it."""

from __future__ import annotations

import re

from trainwatt.records.snapshot import Status

# Packages that end a trial early on purpose, by an exception or an exit.
_TUNERS = ("optuna", "ray", "keras_tuner", "kerastuner", "hyperopt", "nni", "ax", "smac", "syne_tune", "determined")
_ENDS_EARLY = re.compile("prun|stop|preempt|exit", re.IGNORECASE)


def status_of(error: BaseException | None) -> Status:
    """Return the status of a run from the exception that ended it."""
    if error is None:
        return "finished"
    if _is_by_tuner(error):
        return "stopped"
    return "failed" if isinstance(error, Exception) else "interrupted"


def _is_by_tuner(error: BaseException) -> bool:
    """Return True if a tuner ends a trial early on purpose, such as Optuna's ``TrialPruned`` and Ray Tune's exit.

    No tuner is imported for it: the names of the exception's classes and of their packages tell it.
    """
    for cls in type(error).__mro__:
        package = str(cls.__module__).partition(".")[0]
        if "pruned" in cls.__name__.lower() or (package in _TUNERS and _ENDS_EARLY.search(cls.__name__)):
            return True
    return isinstance(error, (SystemExit, StopIteration)) and _raised_in(error) in _TUNERS


def _raised_in(error: BaseException) -> str:
    """Return the package whose code has raised an exception."""
    trace, package = error.__traceback__, ""
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        trace = trace.tb_next
    return package
