"""No device is waited for: a number made of a tensor waits for all that its device has been given."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import Trainer, TrainerCallback

from tests.transformers.training import trainer_with
from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback

WAITS = ("item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__", "__array__", "__format__")


class Conversions(TorchFunctionMode):
    """Counts what waits for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        self.made[name] += name in WAITS
        return func(*args, **(kwargs or {}))


class LogsTensors(TrainerCallback):
    """Logs values that are still on their device."""

    trainer: Trainer

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 4:
            self.trainer.log({"loss": torch.tensor(3.0), "both": torch.tensor([1.0, 2.0])})  # type: ignore[dict-item]


def conversions(folder: Path, *callbacks: TrainerCallback, bar: bool) -> Counter[str]:
    own = LogsTensors()
    options: dict[str, Any] = {"logging_steps": 1, "eval_strategy": "epoch"}
    own.trainer = trainer_with(folder, own, *callbacks, disable_tqdm=not bar, **options)
    with Conversions() as counted:
        own.trainer.train()
    return +counted.made


@pytest.mark.parametrize("bar", [True, False])
def test_we_make_no_number_of_a_tensor(tmp_path: Path, bar: bool) -> None:
    ours = (
        FootprintCallback(output_dir=tmp_path / "footprint", devices="ram", verbose=False),
        GreenEarlyStoppingCallback("loss", devices="ram", min_gain_per_kwh=None),
    )
    without = conversions(tmp_path, bar=bar)
    assert without["item"] > 0
    assert conversions(tmp_path, *ours, bar=bar) == without
