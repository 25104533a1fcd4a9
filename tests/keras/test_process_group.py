"""Keras in two processes of JAX's: no collective tells one of the other, so they meet in the folder of runs.

TensorFlow's MultiWorkerMirroredStrategy is not among them: ``Model.fit`` of Keras 3 does not run under it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from standins import nvml
from trainwatt.records.job_reader import merge
from trainwatt.records.run_folder import read_summary

WAVES = (nvml.Constant(300.0), nvml.Constant(500.0))
SCRIPT = """
import json, os, sys, time
import jax

rank = int(sys.argv[1])
jax.distributed.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], 2, rank)

import keras
from tests.keras.training import fit
from trainwatt_keras import FootprintMonitor
from trainwatt_keras import process_group

class Slow(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        time.sleep(0.2)

monitor = FootprintMonitor(output_dir="footprint", run_name="run", zone="FR")
history = fit(monitor, Slow()).history
agreed = [process_group.agreed(rank == 0), process_group.agreed(rank == 1)]
found = {"logged": sorted(history), "summary": monitor.summary, "agreed": agreed}
open(f"{rank}.json", "w").write(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras-job")
    (folder / "train.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    library = nvml.build(tmp_path_factory.getbasetemp() / "nvml")
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    environment = {
        **os.environ,
        **nvml.environment(nvml.Machine(tuple(map(nvml.h100, WAVES)), origin_s=time.perf_counter()), library, folder),
        "JAX_COORDINATOR_ADDRESS": address,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": path,
    }
    command = [sys.executable, "-W", "ignore", "train.py"]
    started = [
        subprocess.Popen(
            [*command, str(rank)],
            env=environment | {"LOCAL_RANK": str(rank), "CUDA_VISIBLE_DEVICES": str(rank)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for each in started:
        _, errors = each.communicate(timeout=200)
        assert each.returncode == 0, errors[-3000:]
    return folder


def test_the_first_process_tells_of_both(folder: Path) -> None:
    summary = json.loads((folder / "0.json").read_text())["summary"]
    shards = sorted(summary["shards"], key=lambda shard: shard["rank"])
    boards = sorted((each for each in summary["devices"] if each["kind"] == "gpu"), key=lambda each: str(each["id"]))
    assert [shard["status"] for shard in shards] == ["finished", "finished"]
    for wave, board, shard in zip(WAVES, boards, shards, strict=True):
        assert board["joules"] == pytest.approx(wave.watts * (shard["to_s"] - shard["from_s"]), rel=0.01)
    assert len([each for each in summary["devices"] if each["kind"] == "ram"]) == 1


def test_only_the_first_process_logs(folder: Path) -> None:
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert "energy/total_kwh" in first["logged"]
    assert not [name for name in second["logged"] if "energy" in name]
    assert second["summary"] == {}


def test_their_folders_can_be_merged_later(folder: Path) -> None:
    folders = sorted((folder / "footprint").iterdir())
    assert [each.name for each in folders] == ["run", "run-rank-1"]
    assert merge(folders)["total_j"] == pytest.approx(read_summary(folders[0])["total_j"])


def test_what_the_first_process_decides_holds_for_all(folder: Path) -> None:
    for rank in range(2):
        assert json.loads((folder / f"{rank}.json").read_text())["agreed"] == [True, False]
