"""Starts the processes of jobs as torchrun does, after the framework has been imported once for all of them.

``launch.py FOLDER``: reads ``FOLDER/jobs.json``, a list of jobs one after the other; each has a ``name``, the rank to
be ``killed`` at its end or null, and for each process the variables by which it is on its host.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.lightning.training import Classifier, Data, trainer_with
from tests.support.forked_ranks import run_ranks
from trainwatt_lightning import FootprintMonitor

STEP_S = 0.2
BRIEF = {"max_epochs": 3, "limit_train_batches": 2}
LASTING = {"max_epochs": 4, "limit_train_batches": 4}  # a counter's last renewal is not 1 % of three seconds


class Slow(Classifier):
    """Steps that take their time, and one process that does not live to see the end."""

    def __init__(self, killed: bool) -> None:
        super().__init__()
        self.killed = killed

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        time.sleep(STEP_S)
        if self.killed and self.trainer.global_step == self.trainer.estimated_stepping_batches - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, batch_idx)


def train(folder: Path, limits: dict[str, Any], killed: bool) -> None:
    monitor = FootprintMonitor(
        devices=("gpu", "ram"), output_dir=folder, run_name="run", zone="FR", verbose=False, prog_bar=False
    )
    nodes = int(os.environ["GROUP_WORLD_SIZE"])
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    options = {"strategy": "ddp", "devices": local, "num_nodes": nodes, "num_sanity_val_steps": 0}
    trainer = trainer_with(monitor, limit_val_batches=1, **options, **limits)
    trainer.fit(Slow(killed), Data())
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    (folder / f"{trainer.global_rank}.json").write_text(json.dumps({"logged": logged, "summary": monitor.summary}))


def run(folder: Path, job: dict[str, Any]) -> list[int]:
    limits = BRIEF if job["killed"] is None else LASTING
    return run_ranks(job["name"], job["processes"], lambda rank: train(folder, limits, rank == job["killed"]))


def main() -> None:
    folder = Path(sys.argv[1])
    for job in json.loads((folder / "jobs.json").read_text()):
        own = folder / job["name"]
        own.mkdir()
        (own / "codes.json").write_text(json.dumps(run(own, job)))


if __name__ == "__main__":
    main()
