"""Other trackers, as Lightning callbacks, each used as its documentation shows."""

from __future__ import annotations

import tempfile

from lightning import Callback, LightningModule, Trainer


class CodeCarbon(Callback):
    """A task for each epoch."""

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
