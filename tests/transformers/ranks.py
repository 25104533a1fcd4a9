"""A training on two ranks whose callbacks differ; run by torchrun: ``ranks.py FOLDER CASE``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from torch import distributed
from transformers import Trainer, TrainerCallback

from tests.transformers.training import trainer_with
from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback

RANK = int(os.environ["RANK"])
LOGGED = {
    "logs on rank 1": {"train_loss": 1.0, "train_runtime": 2.0, "total_flos": 3.0},
    "losses on rank 1": {"loss": 1.0},
    "logs on all ranks": {"train_loss": 1.0, "train_runtime": 2.0, "total_flos": 3.0},
}


class Logs(TrainerCallback):
    """Logs entries of its own, named as the Trainer's."""

    trainer: Trainer

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.05)
        if case in LOGGED and (RANK == 1 or case.endswith("all ranks")):
            self.trainer.log(dict(LOGGED[case]))

    on_evaluate = on_step_begin


class Gathers(TrainerCallback):
    """Communicates with the other rank at each log entry."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        distributed.all_gather_object([None, None], RANK)


folder, case = Path(sys.argv[1]), sys.argv[2]
monitor = FootprintCallback(output_dir=folder / "footprint", run_name="run", devices="ram", verbose=False)
stopper = GreenEarlyStoppingCallback("loss", devices="ram", max_kwh=1e-12, verbose=False)
own = Logs()
callbacks: list[TrainerCallback] = [own]
if case not in LOGGED:
    callbacks.append(Gathers())
if RANK == 0 or "monitor on rank 0" not in case:
    callbacks.append(monitor)
if "stopper" in case and (RANK == 0 or "stopper on rank 0" not in case):
    callbacks.append(stopper)
own.trainer = trainer_with(folder, *callbacks, ddp_backend="gloo", eval_strategy="epoch")
began_s = time.monotonic()
own.trainer.train()
told = {
    "seconds": time.monotonic() - began_s,
    "steps": own.trainer.state.global_step,
    "entries": [entry for entry in own.trainer.state.log_history if "energy/epoch_kwh" in entry],
    "summary": monitor.summary,
    "stopped": stopper.stopping_reason is not None,
}
(folder / f"{RANK}.json").write_text(json.dumps(told))
