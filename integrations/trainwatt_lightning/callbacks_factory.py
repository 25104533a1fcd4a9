"""A monitor for every Trainer of an environment, with no code changed.

Lightning calls :func:`callbacks` for each Trainer, through its ``callbacks_factory`` entry point.
"""

from __future__ import annotations

import os

from trainwatt_lightning.compat import LightningModule, Trainer
from trainwatt_lightning.monitor import FootprintMonitor

SWITCH = "TRAINWATT_LIGHTNING"
_ON = {"1", "true", "yes", "on"}


class AutoFootprintMonitor(FootprintMonitor):
    """Monitor that does nothing if the user has added one."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See :class:`FootprintMonitor`."""
        callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning's connectors
        monitors = [callback for callback in callbacks if isinstance(callback, FootprintMonitor)]
        if all(isinstance(monitor, AutoFootprintMonitor) for monitor in monitors):
            super().setup(trainer, pl_module, stage)


def callbacks() -> list[FootprintMonitor]:
    """Return a monitor with its defaults if ``TRAINWATT_LIGHTNING=1`` is set, otherwise none."""
    return [AutoFootprintMonitor()] if os.environ.get(SWITCH, "").lower() in _ON else []
