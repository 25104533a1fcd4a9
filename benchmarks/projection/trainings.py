"""One real training in this process, small enough for a benchmark; what it took is left in its run folder.

With power from a stand-in GPU the process waits in each step for as long as that would work, as it does for a real one;
without, it computes on the processor alone.

usage: trainings.py KIND SEED FOLDER [--power wave|cpu] [--epochs N] [--size X]
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

Options = argparse.Namespace
_STEP_S = 0.02  # of the stand-in GPU
_KINDS: dict[str, Callable[[Options], None]] = {}


def kind(training: Callable[[Options], None]) -> Callable[[Options], None]:
    """Register a training by its function's name."""
    _KINDS[training.__name__] = training
    return training


def settings(options: Options) -> dict[str, Any]:
    """The monitor's arguments."""
    power: dict[str, Any] = {"devices": "gpu"} if options.power == "wave" else {"scope": "process"}
    return {"output_dir": options.folder, "run_name": "run", "zone": "FR", **power}


def wait(options: Options, share: float = 1.0) -> None:
    """For the GPU, where there is one."""
    if options.power == "wave":
        time.sleep(share * _STEP_S)


def samples(options: Options) -> int:
    """How many: epochs of the two kinds of run last about as long."""
    return 4_000 if options.power == "wave" else 25_000


def points(count: int, features: int, seed: int) -> tuple[Any, Any]:
    """Samples of ten classes."""
    import numpy as np

    dice = np.random.default_rng(seed)
    x = dice.normal(size=(count, features)).astype("float32")
    return x, (x @ dice.normal(size=(features, 10))).argmax(1)


# PyTorch Lightning


class Decoded:
    """Samples that are costly to make, and kept when they were made once, as a cache of decoded images is."""

    def __init__(self, x: Any, y: Any, work: int) -> None:
        self.x, self.y, self.work = x, y, work
        self.kept: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        import numpy as np

        if index not in self.kept:
            for _ in range(self.work):
                np.fft.fft(self.x[index])
            self.kept[index] = (self.x[index], self.y[index])
        return self.kept[index]


def lightning_fit(options: Options, *, compiled: bool = False, work: int = 0, **trainer: Any) -> None:
    """A fit of a small convolutional or dense network."""
    import torch
    from lightning import LightningModule, Trainer
    from torch.utils.data import DataLoader, TensorDataset

    from trainwatt_lightning import FootprintMonitor

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    width = int(256 * options.size)
    dense = torch.nn.Sequential(
        torch.nn.Linear(128, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, 10),
    )
    net: Any = torch.compile(dense) if compiled else dense

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = dense

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            wait(options)
            return torch.nn.functional.cross_entropy(net(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            wait(options, 1 / 3)
            self.log("val_loss", torch.nn.functional.cross_entropy(net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 1e-3)

    def loader(count: int, seed: int, *, shuffle: bool) -> Any:
        x, y = points(count, 128, seed)
        data: Any = Decoded(x, y, work) if work and shuffle else TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        return DataLoader(data, batch_size=64, shuffle=shuffle, drop_last=False)

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    defaults = {"max_epochs": options.epochs, "enable_checkpointing": False, "default_root_dir": options.folder}
    fit = Trainer(callbacks=[FootprintMonitor(**settings(options))], **(quiet | defaults | trainer))
    fit.fit(
        Model(),
        loader(samples(options), options.seed, shuffle=True),
        loader(samples(options) // 5, options.seed + 1, shuffle=False),
    )


@kind
def lightning(options: Options) -> None:
    """Eager, an evaluation each epoch."""
    lightning_fit(options)


@kind
def lightning_second(options: Options) -> None:
    """An evaluation every second epoch, and checkpoints."""
    lightning_fit(options, check_val_every_n_epoch=2, enable_checkpointing=True)


@kind
def lightning_compile(options: Options) -> None:
    """With torch.compile; the last batch is a smaller one."""
    lightning_fit(options, compiled=True)


@kind
def lightning_cached(options: Options) -> None:
    """Samples are decoded in the first epoch and kept."""
    lightning_fit(options, work=1)


@kind
def lightning_steps(options: Options) -> None:
    """As many steps, of two batches each, with evaluations within the epochs."""
    steps = int(samples(options) / 64 / 2 * (options.epochs - 0.5))
    lightning_fit(options, max_epochs=-1, max_steps=steps, accumulate_grad_batches=2, val_check_interval=0.5)


# Keras


def keras_fit(options: Options, *, cached: bool = False, conv: bool = False, **fit: Any) -> None:
    """A fit with tf.function, or with PyTorch."""
    import keras

    from trainwatt_keras import FootprintMonitor

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    else:
        import torch

        torch.set_num_threads(1)
    keras.utils.set_random_seed(options.seed)
    layers = keras.layers
    width = int(256 * options.size)
    hidden: list[Any] = [layers.Dense(width, activation="relu"), layers.Dense(width, activation="relu")]
    if conv:
        width = int(16 * options.size)
        hidden = [layers.Reshape((16, 8, 1)), layers.Conv2D(width, 3, activation="relu"), layers.BatchNormalization()]
        hidden += [layers.Conv2D(width, 3, activation="relu"), layers.Flatten(), layers.Dropout(0.2)]
    model = keras.Sequential([keras.Input((128,)), *hidden, layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    x, y = points(samples(options), 128, options.seed)
    validation = points(samples(options) // 5, 128, options.seed + 1)
    data: dict[str, Any] = {"x": x, "y": y, "batch_size": 64, "validation_data": validation}
    if cached:
        import tensorflow as tf

        def decode(sample: Any, label: Any) -> Any:
            spectrum = tf.cast(sample, tf.complex64)
            for _ in range(6):
                spectrum = tf.signal.fft(spectrum)
            return sample + 0.0 * tf.math.real(spectrum), label

        training = tf.data.Dataset.from_tensor_slices((x, y)).map(decode).cache().shuffle(2000).batch(64).prefetch(1)
        data = {"x": training, "validation_data": tf.data.Dataset.from_tensor_slices(validation).batch(64)}

    class Device(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            wait(options)

        def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
            wait(options, 1 / 3)

    callbacks = [Device(), FootprintMonitor(**settings(options))]
    model.fit(**data, epochs=options.epochs, verbose=0, callbacks=callbacks, **fit)


@kind
def keras(options: Options) -> None:
    """Arrays, an evaluation each epoch."""
    keras_fit(options)


@kind
def keras_conv(options: Options) -> None:
    """Convolutions, an evaluation every second epoch."""
    keras_fit(options, conv=True, validation_freq=2)


@kind
def keras_cached(options: Options) -> None:
    """A tf.data pipeline that caches what it decodes."""
    keras_fit(options, cached=True)


@kind
def keras_torch(options: Options) -> None:
    """On PyTorch, eager."""
    keras_fit(options)


# the Hugging Face Trainer


def hf_train(options: Options, **arguments: Any) -> None:
    """A small GPT-2 from scratch."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    from trainwatt_transformers import FootprintCallback

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    sizes = {"n_layer": 2, "n_embd": 2 * int(32 * options.size), "n_head": 2, "vocab_size": 256, "n_positions": 64}
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    config.loss_type = "ForCausalLM"

    def sentences(count: int, seed: int) -> list[dict[str, Any]]:
        tokens = torch.randint(1, 256, (count, 64), generator=torch.Generator().manual_seed(seed))
        return [{"input_ids": each, "labels": each} for each in tokens]

    class Device(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            wait(options)

        def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            wait(options, 1 / 3)

    defaults: dict[str, Any] = {"num_train_epochs": options.epochs, "per_device_train_batch_size": 8}
    defaults |= {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "save_strategy": "no"}
    defaults |= {"dataloader_pin_memory": False, "logging_steps": 50, "per_device_eval_batch_size": 16}
    trainer = Trainer(
        model=GPT2LMHeadModel(config),
        args=TrainingArguments(str(options.folder / "trainer"), **(defaults | arguments)),
        train_dataset=sentences(8 * (600 if options.epochs == 1 else 60), options.seed),
        eval_dataset=sentences(96, options.seed + 1),
        callbacks=[Device(), FootprintCallback(**settings(options))],
    )
    trainer.train()


@kind
def hf(options: Options) -> None:
    """Epochs, each with an evaluation."""
    hf_train(options, eval_strategy="epoch")


@kind
def hf_compile(options: Options) -> None:
    """With torch.compile."""
    hf_train(options, eval_strategy="epoch", torch_compile=True)


@kind
def hf_one(options: Options) -> None:
    """A fine-tuning of one epoch, with evaluations and a checkpoint within it."""
    options.epochs = 1
    hf_train(options, eval_strategy="steps", eval_steps=150, save_strategy="steps", save_steps=300)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("seed", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--power", choices=("wave", "cpu"), default="cpu")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=float, default=1.0)
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch" if options.kind == "keras_torch" else "tensorflow")
    began_s = time.perf_counter()
    _KINDS[options.kind](options)
    print(f"{time.perf_counter() - began_s:.1f} s")


if __name__ == "__main__":
    main()
