"""Lightning's loggers get the summary, the report and the factors: W&B offline, MLflow on SQLite, TensorBoard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json
from pathlib import Path
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from tests.lightning.training import Classifier, Data, trainer_with
from trainwatt_lightning import FootprintMonitor

class Reports(FootprintMonitor):
    def on_train_end(self, *args):
        Path("footprint/run/report.html").write_text("<html></html>")

mlflow = MLFlowLogger(tracking_uri="sqlite:///mlflow.db", artifact_location="mlflow")
loggers = [WandbLogger(project="test"), mlflow, TensorBoardLogger("tensorboard", version="version")]
monitor = Reports(zone="FR", run_name="run", verbose=False)
trainer = trainer_with(monitor, logger=loggers)
trainer.fit(Classifier(), datamodule=Data())
trainer.test(Classifier(), datamodule=Data(), verbose=False)
kept = FootprintMonitor(zone="FR", run_name="kept", verbose=False, attachments=False)
trainer_with(kept, logger=loggers[1:], max_epochs=1).fit(Classifier(), datamodule=Data())
run = mlflow.experiment.get_run(mlflow.run_id)
found = {"wandb": loggers[0].experiment.config.as_dict(), "mlflow": run.data.params}
Path("found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a training and a test have left what they and their loggers write."""
    folder = tmp_path_factory.mktemp("trackers")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    variables = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    run = subprocess.run(
        command, env=os.environ | variables, cwd=folder, capture_output=True, text=True, check=True, timeout=300
    )
    assert "could not be attached" not in run.stderr
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "found.json").read_text()))


def test_wandb_has_config_and_artifacts(folder: Path, found: dict[str, Any]) -> None:
    assert found["wandb"]["trainwatt"]["zone"] == "FR"
    assert found["wandb"]["trainwatt"]["carbon_intensity_g_per_kwh"] > 0
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    written = file.read_bytes()
    for name in (b"trainwatt-run", b"trainwatt-run-test", b"summary.json", b"report.html"):
        assert name in written


def test_mlflow_has_parameters_and_artifacts(folder: Path, found: dict[str, Any]) -> None:
    assert found["mlflow"]["trainwatt/zone"] == "FR"
    (kept,) = folder.glob("mlflow/**/trainwatt/run/summary.json")
    assert kept.read_text() == (folder / "footprint/run/summary.json").read_text()
    assert list(folder.glob("mlflow/**/trainwatt/run/report.html"))
    assert list(folder.glob("mlflow/**/trainwatt/run-test/summary.json"))


def test_what_is_to_be_kept_here_is_not_attached(folder: Path) -> None:
    assert (folder / "footprint/kept/summary.json").exists()
    assert not list(folder.glob("mlflow/**/trainwatt/kept"))
    assert b"trainwatt/kept" not in b"".join(path.read_bytes() for path in folder.glob("tensorboard/**/events*"))


def test_tensorboard_has_texts(folder: Path) -> None:
    events = EventAccumulator(str(folder / "tensorboard/lightning_logs/version"))
    events.Reload()
    texts = {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    assert "trainwatt: run finished" in texts["trainwatt/run/summary/text_summary"]
    assert "| zone | FR |" in texts["trainwatt/run/factors/text_summary"]
    assert "trainwatt: run-test finished" in texts["trainwatt/run-test/summary/text_summary"]
