"""Trainings with other processes: ``spawned.py FOLDER spawn|fork|loader``."""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch

from tests.transformers.training import trainer_with
from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback


class Collate:
    """Makes batches, and holds what a user's may: the model and the callbacks.

    Args:
        held: travels with it to the workers.
    """

    def __init__(self, *held: Any) -> None:
        self.held = held

    def __call__(self, rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def train(callback: FootprintCallback, folder: Path) -> None:
    trainer_with(folder, callback).train()


if __name__ == "__main__":
    folder, form = Path(sys.argv[1]), sys.argv[2]
    callback = FootprintCallback(output_dir=folder / "footprint", devices="ram", verbose=False)
    if form == "loader":
        multiprocessing.set_start_method("spawn")
        stopper = GreenEarlyStoppingCallback("loss", devices="ram", min_gain_per_kwh=None, verbose=False)
        trainer = trainer_with(folder, callback, stopper, eval_strategy="epoch", dataloader_num_workers=1)
        trainer.data_collator = Collate(trainer.model, callback, stopper)
        trainer.train()
    else:
        process = multiprocessing.get_context(form).Process(target=train, args=(callback, folder))
        process.start()
        process.join()
    (folder / "summary.json").write_text(json.dumps(callback.summary))
