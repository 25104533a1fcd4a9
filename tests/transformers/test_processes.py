"""The plugin in processes of its own: two of them training together, with all frameworks installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainwatt.record import read_summary

SCRIPT = """
import json, os, sys, warnings
from pathlib import Path
from trainwatt_transformers import FootprintCallback
from tests.transformers.training import trainer_with

others = ("jax", "keras", "lightning", "pytorch_lightning", "tensorflow")
imported = [name for name in others if name in sys.modules]
folder = Path(sys.argv[1])
callback = FootprintCallback(output_dir=folder / "footprint", run_name="run", verbose=True)
trainer = trainer_with(folder, callback, ddp_backend="gloo", eval_strategy="epoch")
trainer.train()
trainer.evaluate()
logged = sorted({name for entry in trainer.state.log_history for name in entry})
found = {"imported": imported, "logged": logged, "summary": callback.summary}
(folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    program = folder / "train.py"
    program.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(program), str(folder)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *launch]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    (folder / "output.txt").write_text(run.stdout)
    return folder


def test_only_the_first_process_measures_logs_and_prints(folder: Path) -> None:
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert {"energy/epoch_kwh", "eval_energy/total_kwh"} <= set(first["logged"])
    assert not [name for name in second["logged"] if "energy" in name or "footprint" in name]
    assert second["summary"] == {}
    assert sorted(path.name for path in (folder / "footprint").iterdir()) == ["run", "run-validate"]
    assert read_summary(folder / "footprint" / "run")["status"] == "finished"
    assert (folder / "output.txt").read_text().count("run folder:") == 2


def test_importing_it_imports_no_other_framework(folder: Path) -> None:
    assert json.loads((folder / "0.json").read_text())["imported"] == []
