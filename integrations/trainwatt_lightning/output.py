"""Output through the Trainer: its loggers and its progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainwatt_lightning.compat import Trainer

if TYPE_CHECKING:
    from trainwatt.reporting.artifacts import ExperimentTracker


def log(trainer: Trainer, metrics: dict[str, float], step: int) -> None:
    """Log values to each of the Trainer's loggers."""
    for logger in trainer.loggers if metrics else ():
        logger.log_metrics(metrics, step=step)


def close_rich_bar(trainer: Trainer) -> None:
    """Close a live bar, which would be drawn over the summary; the Trainer closes it again, to no effect."""
    bar = trainer.progress_bar_callback
    if any(cls.__name__ == "RichProgressBar" for cls in type(bar).__mro__) and trainer.state.fn is not None:
        bar.teardown(trainer, trainer.lightning_module, trainer.state.fn)  # type: ignore[union-attr]


def experiment_trackers(trainer: Trainer) -> list[ExperimentTracker]:
    """Find the experiment trackers behind the Trainer's loggers, at the end of a run: importing this takes a while."""
    from trainwatt_lightning.experiment_trackers import trackers_of  # noqa: PLC0415

    return trackers_of(trainer) if trainer.is_global_zero else []
