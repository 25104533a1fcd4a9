"""Adapters that log the artifacts of a run to each experiment tracker, in its own artifacts and config."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import Any

from trainwatt.escaping.documents import markdown
from trainwatt.reporting.artifacts import Attachment, Config, ExperimentTracker

_KIND = "footprint"
_PREFIX = "trainwatt"


def wandb_takes(run: Any, made: Attachment) -> None:
    """Log to ``config.trainwatt`` and an artifact of type ``footprint``."""
    run.config.update({_PREFIX: dict(made.config)}, allow_val_change=True)
    if made.files:
        artifact = import_module("wandb").Artifact(_artifact_name(made), type=_KIND, metadata=dict(made.config))
        for file in made.files:
            artifact.add_file(str(file), name=file.name)
        run.log_artifact(artifact)


def mlflow_takes(client: Any, run_id: str, made: Attachment) -> None:
    """Log to parameters ``trainwatt/...`` and artifacts under ``trainwatt/<run>``.

    MLflow does not allow parameters to change, so those that the run already has are kept.
    """
    given = client.get_run(run_id).data.params
    entity = import_module("mlflow.entities").Param
    wanted = {f"{_PREFIX}/{name}": str(value) for name, value in made.config.items()}
    params = [entity(name, value) for name, value in wanted.items() if name not in given]
    client.log_batch(run_id, params=params)
    for file in made.files:
        client.log_artifact(run_id, str(file), f"{_PREFIX}/{made.name}")


def tensorboard_takes(writer: Any, made: Attachment) -> None:
    """Log as text, because TensorBoard does not store files."""
    writer.add_text(f"{_PREFIX}/{made.name}/summary", "\n".join(f"    {line}" for line in made.text.splitlines()))
    writer.add_text(f"{_PREFIX}/{made.name}/factors", _markdown(made.config))
    writer.flush()


def comet_takes(experiment: Any, made: Attachment) -> None:
    """Log to parameters ``trainwatt/...`` and assets under ``trainwatt/<run>``."""
    experiment.log_parameters({f"{_PREFIX}/{name}": value for name, value in made.config.items()})
    for file in made.files:
        experiment.log_asset(str(file), file_name=f"{_PREFIX}/{made.name}/{file.name}")


def trackio_takes(run: Any, made: Attachment) -> None:
    """Log to an artifact of type ``footprint``. For the config see :func:`trackio_configured`."""
    if made.files:
        artifact = import_module("trackio").Artifact(_artifact_name(made), _KIND, metadata=dict(made.config))
        for file in made.files:
            artifact.add_file(str(file), name=file.name)
        run.log_artifact(artifact)


def trackio_configured(run: Any, config: Config) -> None:
    """Set ``config.trainwatt``. Call it before the first metric is logged: trackio stores its config then."""
    run.config[_PREFIX] = dict(config)


def active_trackers() -> list[ExperimentTracker]:
    """Return the active runs of W&B and MLflow, as far as the program has imported them."""
    wandb, mlflow = sys.modules.get("wandb"), sys.modules.get("mlflow")
    found = []
    if (run := getattr(wandb, "run", None)) is not None:
        found.append(wandb_tracker(run))
    if (active := mlflow_active()) is not None and mlflow is not None:
        found.append(mlflow_tracker(mlflow.MlflowClient(), active))
    return found


def mlflow_active() -> str | None:
    """Return the id of the active MLflow run, or None if there is none or MLflow is not imported."""
    mlflow: Any = sys.modules.get("mlflow")
    run = mlflow.active_run() if mlflow is not None else None
    return None if run is None else str(run.info.run_id)


def wandb_tracker(run: Any) -> ExperimentTracker:
    """Wrap a run of W&B."""
    return ExperimentTracker("W&B", lambda made: wandb_takes(run, made))


def mlflow_tracker(client: Any, run_id: str) -> ExperimentTracker:
    """Wrap a run of MLflow, active or ended."""
    return ExperimentTracker("MLflow", lambda made: mlflow_takes(client, run_id, made))


def _artifact_name(made: Attachment) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"{_PREFIX}-{made.name}")


def _markdown(config: Config) -> str:
    # TensorBoard shows Markdown, and the names of places and devices are not ours.
    rows = (f"| {markdown(name)} | {markdown(str(value))} |" for name, value in config.items())
    return "\n".join(["| | |", "|---|---|", *rows])
