"""The experiment trackers that a Trainer reports to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from transformers import Trainer, TrainerCallback

from trainwatt.records.snapshot import RunSnapshot
from trainwatt.reporting.artifacts import ExperimentTracker, config_of
from trainwatt.reporting.experiment_trackers import (
    comet_takes,
    mlflow_active,
    mlflow_tracker,
    tensorboard_takes,
    trackio_configured,
    trackio_takes,
    wandb_tracker,
)


def trackers_of(trainer: Trainer) -> list[ExperimentTracker]:
    """Return one for each that has a run open now: MLflow and trackio end theirs before the Trainer's call ends."""
    callbacks = trainer.callback_handler.callbacks
    known = (_KNOWN[name](callback) for callback in callbacks if (name := _name(callback)))
    return [tracker for tracker in known if tracker is not None]


def trackers_at_the_start(trainer: Trainer, snapshot: RunSnapshot | None) -> list[ExperimentTracker]:
    """Return the same, before the first values are logged."""
    run = _trackio_run()
    if snapshot is not None and run is not None and any(map(_is_trackio, trainer.callback_handler.callbacks)):
        trackio_configured(run, config_of(snapshot.summary()))
    return trackers_of(trainer)


def _is_trackio(callback: TrainerCallback) -> bool:
    return _name(callback) == "TrackioCallback"


def _trackio_run() -> Any:
    trackio = sys.modules.get("trackio")
    return trackio.context_vars.current_run.get() if trackio else None


def _name(callback: TrainerCallback) -> str:
    return next((cls.__name__ for cls in type(callback).__mro__ if cls.__name__ in _KNOWN), "")


def _wandb(_: Any) -> ExperimentTracker | None:
    run = getattr(sys.modules.get("wandb"), "run", None)
    return wandb_tracker(run) if run is not None else None


def _mlflow(_: Any) -> ExperimentTracker | None:
    run_id, mlflow = mlflow_active(), sys.modules.get("mlflow")
    return mlflow_tracker(mlflow.MlflowClient(), run_id) if run_id and mlflow else None


def _tensorboard(callback: Any) -> ExperimentTracker | None:
    writer = callback.tb_writer
    return (
        ExperimentTracker("TensorBoard", lambda made: tensorboard_takes(writer, made)) if writer is not None else None
    )


def _comet(callback: Any) -> ExperimentTracker | None:
    experiment = getattr(callback, "_experiment", None)
    return ExperimentTracker("Comet", lambda made: comet_takes(experiment, made)) if experiment is not None else None


def _trackio(_: Any) -> ExperimentTracker | None:
    run = _trackio_run()
    return ExperimentTracker("trackio", lambda made: trackio_takes(run, made)) if run is not None else None


_KNOWN: dict[str, Callable[[Any], ExperimentTracker | None]] = {
    "WandbCallback": _wandb,
    "MLflowCallback": _mlflow,
    "TensorBoardCallback": _tensorboard,
    "CometCallback": _comet,
    "TrackioCallback": _trackio,
}
