"""Training in a framework that continues until it is killed: ``in_framework.py FRAMEWORK FOLDER``."""

# ruff: noqa: PLC0415  # only the framework that is asked for

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def begun(*_: Any) -> None:
    """Report that the framework has completed some steps."""
    sys.stdout.write("training\n")
    sys.stdout.flush()


def lightning(options: dict[str, Any]) -> None:
    from lightning import Callback

    from tests.lightning.training import Classifier, Data, trainer_with
    from trainwatt_lightning import FootprintMonitor

    class Beat(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            time.sleep(0.2)
            begun()

    trainer_with(FootprintMonitor(**options), Beat(), max_epochs=100_000).fit(Classifier(), datamodule=Data())


def transformers(options: dict[str, Any]) -> None:
    from transformers import TrainerCallback

    from tests.transformers.training import trainer_with
    from trainwatt_transformers import FootprintCallback

    class Beat(TrainerCallback):
        def on_epoch_end(self, *arguments: Any, **keywords: Any) -> None:
            time.sleep(0.2)
            begun()

    trainer_with(Path(options["output_dir"]), FootprintCallback(**options), Beat(), num_train_epochs=100_000).train()


def keras(options: dict[str, Any]) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as framework
    import numpy as np

    from trainwatt_keras import FootprintMonitor

    class Beat(framework.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            time.sleep(0.2)
            begun()

    model = framework.Sequential([framework.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((32, 4), "float32")
    model.fit(x, x[:, :1], epochs=100_000, verbose=0, callbacks=[FootprintMonitor(**options), Beat()])


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    {"lightning": lightning, "transformers": transformers, "keras": keras}[name](
        {"zone": "FR", "output_dir": folder, "run_name": "run", "verbose": False, "devices": ("cpu", "ram")}
    )
