"""A Trainer that runs in processes of its own, and its callbacks afterwards: ``spawned.py FOLDER STRATEGY``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.lightning.training import Classifier, Data, trainer_with
from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping


def main(folder: Path, strategy: str) -> None:
    monitor = FootprintMonitor(output_dir=folder, run_name="run", devices="ram", verbose=False, zone="FR")
    # the sampler's thread of a training before is not in a forked process
    trainer_with(monitor, max_epochs=1).fit(Classifier(), datamodule=Data())
    stopping = GreenEarlyStopping("val_loss", devices="ram")
    trainer, module = trainer_with(monitor, stopping, strategy=strategy, devices=2), Classifier()
    trainer.fit(module, datamodule=Data())
    fitted = dict(monitor.summary)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    trainer.test(module, datamodule=Data(), verbose=False)
    told = {"fitted": fitted, "metrics": metrics, "tested": dict(monitor.summary)}
    (folder / f"{strategy}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
