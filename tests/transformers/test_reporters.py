"""The values reach what the Trainer reports to, also where that runs beside it, and so does what a run leaves.

W&B offline, MLflow on SQLite, TensorBoard and trackio, all on this machine.
"""

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
import json, sys
from pathlib import Path
import mlflow, trackio, wandb
from tests.transformers.training import trainer_with
from trainwatt_transformers import FootprintCallback

form, folder = sys.argv[1], Path.cwd()
reporters, callbacks = ["wandb", "mlflow", "tensorboard", "trackio"], []
if form == "report_to":
    reporters = [*reporters, "trainwatt"]
else:
    callbacks = [FootprintCallback(zone="FR", run_name="run", verbose=False)]
trainer = trainer_with(folder, *callbacks, report_to=reporters, eval_strategy="epoch", run_name="test")
trainer.train()
history = {name: entry[name] for entry in trainer.state.log_history for name in entry}
(run,) = trackio.Api().runs("huggingface")
found = {
    "history": history,
    "wandb": dict(wandb.run.summary),
    "mlflow": mlflow.last_active_run().data.metrics,
    "configs": {
        "wandb": wandb.run.config.as_dict()["trainwatt"],
        "mlflow": mlflow.last_active_run().data.params,
        "trackio": run.config["trainwatt"],
    },
}
(folder / "found.json").write_text(json.dumps(found, default=str))
"""


@pytest.fixture(scope="module", params=["callbacks", "report_to"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a training has left what it and its reporters write."""
    folder = tmp_path_factory.mktemp("reporters")
    variables = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"),
        "TRACKIO_DIR": str(folder / "trackio"),
        "TRAINWATT_ZONE": "FR",
    }
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, request.param]
    run = subprocess.run(
        command, env=os.environ | variables, cwd=folder, check=False, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "could not be attached" not in run.stderr
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, Any]]:
    """What the training's history and its reporters held at its end, by name."""
    return dict(json.loads((folder / "found.json").read_text()))


def ours(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The last of each of our values in the Trainer's own history."""
    values = {name: value for name, value in found["history"].items() if name.startswith(("energy/", "footprint/"))}
    assert {"energy/total_kwh", "energy/validate_kwh", "footprint/co2e_kg"} <= set(values)
    return values


@pytest.mark.parametrize(("reporter", "prefix"), [("wandb", "train/"), ("mlflow", "")])
def test_the_values_reach_the_reporters(found: dict[str, dict[str, Any]], reporter: str, prefix: str) -> None:
    for name, value in ours(found).items():
        assert found[reporter][prefix + name] == pytest.approx(value)


def test_what_wandb_would_upload_holds_the_values(folder: Path, found: dict[str, dict[str, Any]]) -> None:
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    written = file.read_bytes()
    for name, value in ours(found).items():
        assert f"train/{name}".encode() in written
        assert repr(value).encode() in written


def test_factors_are_in_the_configs(found: dict[str, dict[str, Any]]) -> None:
    configs = found["configs"]
    assert configs["wandb"] == configs["trackio"]
    assert configs["wandb"]["zone"] == "FR"
    assert configs["wandb"]["carbon_intensity_source"]
    for name, value in configs["wandb"].items():
        assert configs["mlflow"][f"trainwatt/{name}"] == str(value)


def test_the_summary_is_an_artifact(folder: Path) -> None:
    (own,) = folder.glob("footprint/*/summary.json")
    name, content = own.parent.name, own.read_bytes()
    (kept,) = folder.glob(f"**/artifacts/trainwatt/{name}/summary.json")
    assert kept.read_bytes() == content
    (logged,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    assert f"trainwatt-{name}".encode() in logged.read_bytes()
    blobs = [path.read_bytes() for path in folder.glob("trackio/artifacts/**/*") if path.is_file()]
    assert content in blobs


def test_tensorboard_has_the_summary_as_a_text(folder: Path) -> None:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    (tag,) = (tag for tag in events.Tags()["tensors"] if tag.endswith("/summary/text_summary"))
    assert "finished after" in events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
