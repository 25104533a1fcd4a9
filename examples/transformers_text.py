"""Train a small language model, letter by letter, on a chapter of a novel and see what a token took.

Run it with ``python examples/transformers_text.py``; needs ``trainwatt[transformers]``. The model is made here and the
text lies beside it: nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from trainwatt_transformers import FootprintCallback

CONTEXT = 64  # bytes that the model sees


class Excerpts(Dataset[dict[str, Tensor]]):
    """Excerpts of a text, each a stride after the one before; a token is a byte."""

    def __init__(self, text: bytes, stride: int) -> None:
        self.tokens = torch.tensor(list(text)).unfold(0, CONTEXT, stride)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return the tokens, which are their own labels."""
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


def network() -> LlamaForCausalLM:
    """Two layers of four heads; 115,000 weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        max_position_embeddings=CONTEXT,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    return LlamaForCausalLM(config)


def main(num_train_epochs: float = 5) -> FootprintCallback:
    """Train, and return the callback."""
    torch.set_num_threads(1)  # the network is too small to share
    text = Path(__file__).with_suffix(".txt").read_bytes()
    split = len(text) * 9 // 10
    args = TrainingArguments(
        "trainer_output",
        num_train_epochs=num_train_epochs,
        per_device_train_batch_size=16,
        learning_rate=3e-3,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=20,
        include_num_input_tokens_seen=True,
        report_to="none",
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    callback = FootprintCallback()
    trainer = Trainer(
        model=network(),
        args=args,
        train_dataset=Excerpts(text[:split], stride=8),
        eval_dataset=Excerpts(text[split:], stride=CONTEXT),
        callbacks=[callback],
    )
    trainer.train()
    latest = {name: value for entry in trainer.state.log_history for name, value in entry.items()}
    print("millijoules to learn from a token", round(1000 * latest["energy/token_j"], 3))
    print("eval_loss", round(latest["eval_loss"], 3))
    return callback


if __name__ == "__main__":
    main()
