"""Output through the Trainer: its loggers, its metrics and its progress bar.

Lightning's public properties of these, ``callback_metrics`` and ``progress_bar_metrics``, turn each metric on the bar
into a Python number when they are read, and so wait for the device. Its own dictionaries behind them are used instead.
"""

# ruff: noqa: SLF001  # Lightning has no public name for the step of its loggers either

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from trainwatt_lightning.compat import Trainer

if TYPE_CHECKING:
    from trainwatt.containment import Failures
    from trainwatt.reporting.artifacts import ExperimentTracker


def log(trainer: Trainer, metrics: dict[str, float], step: int, failures: Failures) -> None:
    """Log values to each of the Trainer's loggers; one that fails costs its own.

    Args:
        trainer: the Trainer.
        metrics: values by name; may be empty.
        step: see :func:`step_of`.
        failures: those of the run.
    """
    for logger in trainer.loggers if metrics else ():
        with failures.contained(f"logging to {type(logger).__name__}"):
            logger.log_metrics(metrics, step=step)


def step_of(trainer: Any) -> int:
    """Return the step under which Lightning itself logs now.

    It counts the batches after which the optimizers have made a step, however many optimizers there are.
    """
    step: int = trainer.fit_loop.epoch_loop._batches_that_stepped
    return step


def step_of_epoch(trainer: Any) -> int:
    """Return the step under which Lightning logs the metrics of the epoch that ends: its last batch's."""
    return max(0, step_of(trainer) - 1)


def logs_now(trainer: Any) -> bool:
    """Return True if Lightning logs the values of the batch that ends, whose step is one of those that are logged."""
    return not (trainer.fit_loop.epoch_loop._should_accumulate() and trainer.lightning_module.automatic_optimization)


def callback_metrics(trainer: Any) -> dict[str, Any]:
    """Return the metrics that other callbacks see, as of the last batch or evaluation, to be added to."""
    metrics: dict[str, Any] = trainer._logger_connector._callback_metrics
    return metrics


def bar_metrics(trainer: Any) -> dict[str, Any]:
    """Return the values on the progress bar, as of the last batch, to be added to."""
    metrics: dict[str, Any] = trainer._logger_connector._progress_bar_metrics
    return metrics


def metric_now(trainer: Any, name: str, *, at_epoch_end: bool) -> Any:
    """Return the present value of a metric, as ``trainer.callback_metrics`` has it; None if there is none.

    Args:
        trainer: the Trainer.
        name: the metric.
        at_epoch_end: True at the end of a training epoch, when those of the training are not up to date yet.
    """
    of_training = [each.meta for each in trainer._results.values()] if at_epoch_end else []
    if any(name in (meta.name, meta.forked_name(False)) for meta in of_training):
        return trainer.callback_metrics.get(name)
    return callback_metrics(trainer).get(name)


def close_rich_bar(trainer: Trainer) -> None:
    """Close a live bar, which would be drawn over the summary; the Trainer closes it again, to no effect."""
    bar = trainer.progress_bar_callback
    if any(cls.__name__ == "RichProgressBar" for cls in type(bar).__mro__) and trainer.state.fn is not None:
        bar.teardown(trainer, trainer.lightning_module, trainer.state.fn)  # type: ignore[union-attr]


def experiment_trackers(trainer: Trainer) -> list[ExperimentTracker]:
    """Find the experiment trackers behind the Trainer's loggers, at the end of a run: importing this takes a while."""
    from trainwatt_lightning.experiment_trackers import trackers_of  # noqa: PLC0415

    return trackers_of(trainer) if trainer.is_global_zero else []


def trainers_call() -> FrameType | None:
    """Return the frame of Lightning's that handles what leaves the Trainer's call; None in a process of its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "_call_and_handle_interrupt":
        frame = frame.f_back
    return frame
