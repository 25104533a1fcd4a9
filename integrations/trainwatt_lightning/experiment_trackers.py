"""The experiment trackers behind a Trainer's loggers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainwatt.reporting.artifacts import Attachment, ExperimentTracker
from trainwatt.reporting.experiment_trackers import comet_takes, mlflow_takes, tensorboard_takes, wandb_takes
from trainwatt_lightning.compat import Trainer

# by name: each of these classes is in a module that imports its tracker
_KNOWN: dict[str, tuple[str, Callable[[Any, Attachment], None]]] = {
    "WandbLogger": ("W&B", lambda logger, made: wandb_takes(logger.experiment, made)),
    "MLFlowLogger": ("MLflow", lambda logger, made: mlflow_takes(logger.experiment, logger.run_id, made)),
    "TensorBoardLogger": ("TensorBoard", lambda logger, made: tensorboard_takes(logger.experiment, made)),
    "CometLogger": ("Comet", lambda logger, made: comet_takes(logger.experiment, made)),
}


def trackers_of(trainer: Trainer) -> list[ExperimentTracker]:
    """Return one for each logger that is known, or derives from a known one."""
    found = []
    for logger in trainer.loggers:
        names = [cls.__name__ for cls in type(logger).__mro__ if cls.__name__ in _KNOWN]
        if names:
            name, take = _KNOWN[names[0]]
            found.append(_tracker(name, take, logger))
    return found


def _tracker(name: str, take: Callable[[Any, Attachment], None], logger: Any) -> ExperimentTracker:
    return ExperimentTracker(name, lambda made: take(logger, made))
