"""Keras in two processes of JAX's or PyTorch's: they meet in the key-value store by which these have found each other.

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
from typing import Any

import pytest

from standins import nvml
from trainwatt.records.job_reader import merge
from trainwatt.records.run_folder import read_summary

WAVES = (nvml.Constant(300.0), nvml.Constant(500.0))
SCRIPT = """
import json, os, sys, time

rank = int(sys.argv[1])
if os.environ["KERAS_BACKEND"] == "jax":
    import jax

    jax.distributed.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], 2, rank)
else:
    import torch.distributed

    address = "tcp://" + os.environ["JAX_COORDINATOR_ADDRESS"]
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)

import keras
from tests.keras.training import fit
from trainwatt_keras import FootprintMonitor, GreenEarlyStopping

class Slow(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        time.sleep(0.05)

class OnOneRank(keras.callbacks.Callback):
    # what only one rank logs, and what each logs differently
    def on_epoch_end(self, epoch, logs=None):
        logs["told"] = 0.5
        if rank == 0:
            logs["rare"] = 0.5

def best(monitor):
    return keras.callbacks.ModelCheckpoint(f"{rank}.keras", monitor, save_best_only=True, mode="max")

found = {}
monitor, kept = FootprintMonitor(output_dir="footprint", run_name="run", zone="FR"), best("energy/total_kwh")
found["history"] = fit(kept, monitor, Slow(), epochs=3).history
found["summary"], found["best"] = monitor.summary, kept.best

limits = {"min_gain_per_kwh": None, "stopping_threshold": 0.1, "devices": "ram", "verbose": 0}
stops = lambda metric: GreenEarlyStopping(metric, "max", **limits)
found["told"] = len(fit(OnOneRank(), stops("told"), epochs=4).epoch)
found["rare"] = len(fit(OnOneRank(), stops("rare"), epochs=4).epoch)
began_s = time.monotonic()
found["alone"] = len(fit(OnOneRank(), *([stops("told")] if rank == 0 else []), epochs=4).epoch)
found["alone_s"] = time.monotonic() - began_s
open(f"{rank}.json", "w").write(json.dumps(found))
"""


@pytest.fixture(scope="module", params=["jax", "torch"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
        "KERAS_BACKEND": request.param,
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


def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_all_processes_log_the_values_of_the_first(folder: Path) -> None:
    first, second = found(folder)
    ours = [name for name in first["history"] if name.startswith(("energy/", "footprint/", "projection/"))]
    assert "energy/total_kwh" in ours
    assert {name: second["history"].get(name) for name in ours} == {name: first["history"][name] for name in ours}
    assert first["best"] == second["best"] == max(first["history"]["energy/total_kwh"])
    assert second["summary"] == {}


def test_the_folder_of_the_second_process_is_within_that_of_the_first(folder: Path) -> None:
    (run,) = (folder / "footprint").iterdir()
    assert read_summary(run / "rank-1")["status"] == "finished"
    assert merge([run, run / "rank-1"])["total_j"] == pytest.approx(read_summary(run)["total_j"])


def test_what_the_first_process_decides_holds_for_all(folder: Path) -> None:
    assert [each["told"] for each in found(folder)] == [1, 1]
    assert [each["rare"] for each in found(folder)] == [1, 1]


def test_a_stopper_that_not_every_process_has_stops_nothing_and_nobody_hangs(folder: Path) -> None:
    assert [each["alone"] for each in found(folder)] == [4, 4]
    assert max(each["alone_s"] for each in found(folder)) < 30
