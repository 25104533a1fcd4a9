"""Two ranks of a Lightning job, whose callbacks may differ from rank to rank.

``ranks.py FOLDER CASE``: writes ``FOLDER/CASE-RANK.json`` on each rank.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from tests.lightning.training import Classifier, Data, trainer_with
from tests.support.forked_ranks import run_ranks
from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping


class NotFinite(Classifier):
    """A module whose metric is never finite."""

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.log("metric", float("nan"))


def monitor(folder: Path, name: str) -> FootprintMonitor:
    return FootprintMonitor(output_dir=folder / name, run_name="run", devices="ram", verbose=False, zone="FR")


def stopper() -> GreenEarlyStopping:
    return GreenEarlyStopping("metric", devices="ram", check_finite=True)


Callbacks = Callable[[Path, str, int], list[Any]]
CASES: dict[str, tuple[Callbacks, dict[str, Any]]] = {
    "chosen": (
        lambda folder, name, rank: [
            monitor(folder, name),
            ModelCheckpoint(folder / name / "kept", monitor="energy/total_kwh", save_top_k=1),
        ],
        {"enable_checkpointing": True, "limit_val_batches": 1},
    ),
    "chosen without evaluations": (
        lambda folder, name, rank: [
            monitor(folder, name),
            ModelCheckpoint(folder / name / "kept", monitor="energy/total_kwh", save_top_k=1),
        ],
        {"enable_checkpointing": True, "limit_val_batches": 0},
    ),
    "monitor on rank 0": (lambda folder, name, rank: [] if rank else [monitor(folder, name)], {}),
    "monitor on rank 1": (lambda folder, name, rank: [monitor(folder, name)] if rank else [], {}),
    "stopper on rank 0": (lambda folder, name, rank: [] if rank else [stopper()], {"max_epochs": 4}),
    "stopper": (lambda folder, name, rank: [stopper(), monitor(folder, name)], {"max_epochs": 4}),
}


def train(folder: Path, case: str, rank: int) -> dict[str, Any]:
    make, options = CASES[case]
    callbacks = make(folder, case, rank)
    trainer = trainer_with(*callbacks, **{"strategy": "ddp", "devices": 2, **options})
    began_s = time.monotonic()
    trainer.fit(NotFinite(), datamodule=Data())
    kept = [each for each in callbacks if isinstance(each, ModelCheckpoint)]
    return {
        "seconds": time.monotonic() - began_s,
        "epochs": trainer.current_epoch,
        "metrics": {name: float(value) for name, value in trainer.callback_metrics.items() if "metric" not in name},
        "kept": [Path(each.best_model_path).name for each in kept],
        "summaries": [each.summary for each in callbacks if isinstance(each, FootprintMonitor)],
        "stopped": [each.stopping_reason_message for each in callbacks if isinstance(each, GreenEarlyStopping)],
    }


def write(folder: Path, case: str, rank: int) -> None:
    logging.getLogger("trainwatt").addHandler(logging.FileHandler(folder / f"{case}-{rank}.log"))
    (folder / f"{case}-{rank}.json").write_text(json.dumps(train(folder, case, rank)))


def main(folder: Path, *cases: str) -> None:
    sizes = {"LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    environments = [{"LOCAL_RANK": str(rank), **sizes} for rank in range(2)]
    for case in cases:
        codes = run_ranks(case, environments, partial(write, folder, case))
        (folder / f"{case}-codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
