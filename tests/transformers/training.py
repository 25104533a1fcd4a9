"""A small real training, for all tests of the plugin."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

BATCHES, BATCH, TOKENS = 6, 4, 8

torch.set_num_threads(1)  # the network is too small to share, and a busy machine would wait for the other thread


def sentences(batches: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """Random tokens, as many as fill some batches."""
    tokens = torch.randint(1, 64, (BATCH * batches, TOKENS), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": sentence, "labels": sentence} for sentence in tokens]


class Model(GPT2LMHeadModel):
    """Two layers.

    Args:
        error: raised in training step 7, if any.
    """

    def __init__(self, config: GPT2Config, error: BaseException | None = None) -> None:
        super().__init__(config)
        self.loss_type = "ForCausalLM"  # cannot be told from this class's name
        self.error = error
        self.batches = 0

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None, **kwargs: Any) -> Any:
        self.batches += self.training
        if self.error is not None and self.training and self.batches == 7:
            raise self.error
        return super().forward(input_ids, labels=labels, **kwargs)


class Slow(TrainerCallback):
    """Takes its time over each step, as a GPU would."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(self.step_s)

    on_prediction_step = on_step_begin


def model(error: BaseException | None = None) -> Model:
    """The same weights each time."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=2, n_embd=32, n_head=2, vocab_size=64, n_positions=TOKENS, bos_token_id=0, eos_token_id=0
    )
    return Model(config, error)


def trainer_with(
    folder: Path,
    *callbacks: TrainerCallback,
    error: BaseException | None = None,
    cls: type[Trainer] = Trainer,
    train_dataset: Any = None,
    eval_dataset: Any = None,
    **options: Any,
) -> Trainer:
    """A quiet Trainer on the CPU, of two epochs."""
    defaults: dict[str, Any] = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": BATCH,
        "logging_steps": 3,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return cls(
        model=model(error),
        args=TrainingArguments(str(folder / "trainer"), **(defaults | options)),
        train_dataset=train_dataset or sentences(BATCHES),
        eval_dataset=eval_dataset or sentences(2, seed=1),
        callbacks=list(callbacks),
    )
