"""The same training three times: to its end, stopped by patience, and stopped green.

Run it with ``python examples/transformers_green.py``; needs ``trainwatt[transformers]``. Model and text are those of
``transformers_text.py``: nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers_text import Excerpts, network

from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback


def train(epochs: int, *stopping: TrainerCallback) -> tuple[int, float, float]:
    """Return completed steps, joules and the lowest loss."""
    text = Path(__file__).with_name("transformers_text.txt").read_bytes()
    split = len(text) * 9 // 10
    footprint = FootprintCallback(output_dir=None, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=16,
            learning_rate=3e-3,
            lr_scheduler_type="constant",
            eval_strategy="steps",
            eval_steps=10,
            save_strategy="no",
            metric_for_best_model="loss",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        data, held_out = Excerpts(text[:split], 16), Excerpts(text[split:], 256)
        trainer = Trainer(network(), args, train_dataset=data, eval_dataset=held_out, callbacks=[footprint, *stopping])
        trainer.train()
    return trainer.state.global_step, footprint.summary["total_j"], trainer.state.best_metric or 0.0


def main(epochs: int = 20) -> None:
    """Train three times and print what each took and brought."""
    torch.set_num_threads(1)  # the network is too small to share
    ways = {"to its end": [], "patience 10": [EarlyStoppingCallback(10)], "green": [GreenEarlyStoppingCallback()]}
    rows = [f"{'':12}{'steps':>8}{'joules':>8}{'best eval_loss':>16}"]
    for name, stopping in ways.items():
        steps, joules, loss = train(epochs, *stopping)
        rows.append(f"{name:12}{steps:8}{joules:8.1f}{loss:16.3f}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
