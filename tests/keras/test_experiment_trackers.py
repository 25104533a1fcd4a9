"""A run that W&B or MLflow has open gets the summary and the factors of a Keras training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json
from pathlib import Path
import mlflow, wandb
from tests.keras.training import fit
from trainwatt_keras import FootprintMonitor

with wandb.init(project="test") as run, mlflow.start_run():
    fit(FootprintMonitor(zone="FR", run_name="run", verbose=False))
    config = run.config.as_dict()
Path("found.json").write_text(json.dumps({"wandb": config, "mlflow": mlflow.last_active_run().data.params}))
"""


def test_an_open_run_gets_config_and_artifacts(tmp_path: Path) -> None:
    variables = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "KERAS_BACKEND": "torch",
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    run = subprocess.run(
        command, env=os.environ | variables, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "could not be attached" not in run.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["wandb"]["trainwatt"]["zone"] == found["mlflow"]["trainwatt/zone"] == "FR"
    assert len(list(tmp_path.glob("**/artifacts/trainwatt/run/summary.json"))) == 1
    (logged,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"trainwatt-run" in logged.read_bytes()
