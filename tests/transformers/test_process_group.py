"""The plugin in processes of its own: two of them training together, with all frameworks installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from standins import nvml
from trainwatt.records.run_folder import read_summary

WAVES = (nvml.Constant(300.0), nvml.Constant(500.0))
SCRIPT = """
import json, os, sys, time, warnings
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["RANK"]  # as SLURM does for each task
from transformers import TrainerCallback
from trainwatt_transformers import FootprintCallback
from tests.transformers.training import trainer_with

others = ("jax", "keras", "lightning", "pytorch_lightning", "tensorflow")
imported = [name for name in others if name in sys.modules]
folder = Path(sys.argv[1])

class Slow(TrainerCallback):
    def on_step_end(self, *args, **kwargs):
        time.sleep(0.3)

callback = FootprintCallback(output_dir=folder / "footprint", run_name="run", verbose=True)
trainer = trainer_with(folder, callback, Slow(), ddp_backend="gloo", eval_strategy="epoch")
trainer.train()
trained = callback.summary
trainer.evaluate()
logged = sorted({name for entry in trainer.state.log_history for name in entry})
history = trainer.state.log_history
names = ("energy/total_kwh", "energy/epoch_kwh", "footprint/co2e_kg")
epochs = [[entry[name] for name in names] for entry in history if "energy/epoch_kwh" in entry]
found = {"imported": imported, "logged": logged, "epochs": epochs, "summary": callback.summary, "trained": trained}
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
    library = nvml.build(tmp_path_factory.getbasetemp() / "nvml")
    boards = nvml.environment(nvml.Machine(tuple(map(nvml.h100, WAVES)), origin_s=time.perf_counter()), library, folder)
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | boards
    command = [sys.executable, "-W", "ignore", *launch]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    (folder / "output.txt").write_text(run.stdout)
    return folder


def test_only_the_first_process_tells_and_all_publish_the_same(folder: Path) -> None:
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert {"energy/epoch_kwh", "eval_energy_kwh"} <= set(first["logged"])
    assert first["epochs"] == second["epochs"] != []
    assert second["summary"] == {}
    assert sorted(path.name for path in (folder / "footprint").iterdir()) == ["run", "run-validate"]
    assert read_summary(folder / "footprint" / "run")["status"] == "finished"
    assert (folder / "output.txt").read_text().count("run folder:") == 2


def test_importing_it_imports_no_other_framework(folder: Path) -> None:
    assert json.loads((folder / "0.json").read_text())["imported"] == []


def test_each_process_measures_the_board_that_it_sees_and_the_first_one_tells_of_all(folder: Path) -> None:
    summary = json.loads((folder / "0.json").read_text())["trained"]
    shards = sorted(summary["shards"], key=lambda shard: shard["rank"])
    boards = sorted((each for each in summary["devices"] if each["kind"] == "gpu"), key=lambda each: str(each["id"]))
    for wave, board, shard in zip(WAVES, boards, shards, strict=True):
        assert board["joules"] == pytest.approx(wave.watts * (shard["to_s"] - shard["from_s"]), rel=0.01)
    assert len([each for each in summary["devices"] if each["kind"] == "ram"]) == 1
    assert summary["processes"]["joined"] == 2


def test_the_other_process_has_its_record_in_the_run_folder(folder: Path) -> None:
    own = read_summary(folder / "footprint" / "run" / "rank-1")
    assert own["status"] == "finished"
    assert {each["kind"] for each in own["devices"]} == {"gpu"}
