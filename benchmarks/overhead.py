"""What measuring costs a training: Lightning on the CPU, bare and with each tracker.

Two identical runs differ by several per cent on a shared machine, so what is ours is measured directly: the CPU time of
every hook, of the sampler's thread, of the start, of the import. The ratio of whole runs stands beside it, each run
paired with a bare one of the same round, together with the ratio of two bare runs: what is within that is noise.

usage: overhead.py [--rounds N] [--epochs N]
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainwatt_lightning import FootprintMonitor

BATCHES = 200
STEP_HOOKS = ("on_train_batch_start", "on_train_batch_end")
EPOCH_HOOKS = (
    "on_train_epoch_start",
    "on_train_epoch_end",
    "on_validation_start",
    "on_validation_epoch_end",
    "on_validation_end",
)


class Model(LightningModule):
    """Two layers, about a millisecond a step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Cross entropy."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Cross entropy."""
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


class CodeCarbon(Callback):
    """A task for each epoch, as its documentation shows."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start."""
        from codecarbon import OfflineEmissionsTracker

        folder = tempfile.mkdtemp()
        self.tracker = OfflineEmissionsTracker(
            country_iso_code="FRA", log_level="critical", output_dir=folder, allow_multiple_runs=True
        )
        self.tracker.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a task."""
        self.tracker.start_task(f"epoch {trainer.current_epoch}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End it."""
        self.tracker.stop_task()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop."""
        self.tracker.stop()


class Carbontracker(Callback):
    """Its two calls an epoch."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start."""
        from carbontracker.tracker import CarbonTracker

        self.tracker = CarbonTracker(epochs=trainer.max_epochs, monitor_epochs=-1, epochs_before_pred=0, verbose=0)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self.tracker.epoch_start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End."""
        self.tracker.epoch_end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop."""
        self.tracker.stop()


class Zeus(Callback):
    """A window an epoch; without a GPU it measures nothing, so this is its floor."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start."""
        from zeus.monitor import ZeusMonitor

        self.monitor = ZeusMonitor()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self.monitor.begin_window("epoch", sync_execution=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End."""
        self.monitor.end_window("epoch", sync_execution=False)


def ours() -> Callback:
    """As a user has it, but silent."""
    return FootprintMonitor(output_dir=tempfile.mkdtemp(), zone="FR", verbose=False)


TRACKERS: dict[str, Callable[[], Callback]] = {
    "none": Callback,
    "none again": Callback,
    "trainwatt": ours,
    "CodeCarbon": CodeCarbon,
    "Carbontracker": Carbontracker,
    "Zeus": Zeus,
}


def timed(callback: Callback, hooks: tuple[str, ...], spent_ns: list[int], clock: Callable[[], int]) -> None:
    """Let the hooks of a callback add their time to a list."""
    for name in hooks:
        hook = getattr(callback, name)

        def wrapper(*args: Any, _hook: Callable[..., Any] = hook, **kwargs: Any) -> Any:
            began_ns = clock()
            result = _hook(*args, **kwargs)
            spent_ns.append(clock() - began_ns)
            return result

        setattr(callback, name, wrapper)


def fit(callback: Callback, epochs: int) -> float:
    """Train; return the wall seconds."""
    data = TensorDataset(torch.randn(32 * BATCHES, 256), torch.randint(0, 10, (32 * BATCHES,)))
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=10,
        callbacks=[callback],
    )
    loader = DataLoader(data, batch_size=32)
    began_s = time.perf_counter()
    trainer.fit(Model(), loader, loader)
    return time.perf_counter() - began_s


def direct(name: str, epochs: int) -> dict[str, float]:
    """CPU time of a tracker's own hooks: microseconds a step, milliseconds an epoch and at the start."""
    callback = TRACKERS[name]()
    step_ns: list[list[int]] = []
    epoch_ns: list[int] = []
    setup_ns: list[int] = []
    for hook in STEP_HOOKS:
        step_ns.append([])
        timed(callback, (hook,), step_ns[-1], time.perf_counter_ns)
    timed(callback, EPOCH_HOOKS, epoch_ns, time.thread_time_ns)
    began_s = 0.0

    setup = callback.setup

    def timed_setup(*args: Any, **kwargs: Any) -> None:
        nonlocal began_s
        began_s = time.perf_counter()
        setup(*args, **kwargs)
        setup_ns.append(int(1e9 * (time.perf_counter() - began_s)))

    callback.setup = timed_setup  # type: ignore[method-assign]
    seconds = fit(callback, epochs)
    figures = {
        "step_us": 1e-3 * sum(map(statistics.median, step_ns)),  # a mean would count what the machine does besides
        "epoch_ms": 1e-6 * sum(epoch_ns) / epochs,
        "start_ms": 1e-6 * sum(setup_ns),
    }
    if isinstance(callback, FootprintMonitor):
        figures["sampler_percent"] = 100 * callback.summary["sampler_cpu_s"] / seconds
    return figures


def import_ms() -> float:
    """What ``import trainwatt_lightning`` takes over Lightning's own: the median of five, once compiled."""
    code = (
        "import lightning.pytorch, time; began = time.perf_counter(); import trainwatt_lightning; "
        "print(1e3 * (time.perf_counter() - began))"
    )
    runs = [
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=True) for _ in range(5)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)  # Carbontracker's and Lightning's chatter
    torch.set_num_threads(1)  # two threads on two busy cores wait for each other, which would drown all else
    os.chdir(tempfile.mkdtemp())

    fit(Callback(), 1)  # warm-up
    base = direct("none", options.epochs)
    print(f"| tracker | a step, us | an epoch, ms | start, ms |\n|{'---|' * 4}")
    for name in ("trainwatt", "CodeCarbon", "Carbontracker", "Zeus"):
        figures = direct(name, options.epochs)
        step_us, epoch_ms = figures["step_us"] - base["step_us"], figures["epoch_ms"] - base["epoch_ms"]
        print(f"| {name} | {step_us:.2f} | {epoch_ms:.2f} | {figures['start_ms']:.1f} |", flush=True)
        if "sampler_percent" in figures:
            sampler_percent = figures["sampler_percent"]
    print(f"\ntrainwatt's sampler: {sampler_percent:.2f} % of a core; import: {import_ms():.1f} ms over Lightning's\n")

    ratios: dict[str, list[float]] = {name: [] for name in TRACKERS if name != "none"}
    for _ in range(options.rounds):
        bare_s = fit(TRACKERS["none"](), options.epochs)
        for name, series in ratios.items():
            series.append(fit(TRACKERS[name](), options.epochs) / bare_s)
    print(f"| whole run over a bare one | median | least | most |\n|{'---|' * 4}")
    for name, series in ratios.items():
        print(f"| {name} | {statistics.median(series):.3f} | {min(series):.3f} | {max(series):.3f} |")


if __name__ == "__main__":
    main()
