"""A monitor for every Trainer of an environment, with no code changed.

Lightning calls :func:`callbacks` for each Trainer, through its ``callbacks_factory`` entry point. Nobody has written
the monitor into the program, so nothing about it may stop the program, a wrong setting neither.
"""

from __future__ import annotations

import logging
import os

from trainwatt_lightning.compat import LightningModule, Trainer
from trainwatt_lightning.monitor import FootprintMonitor

_log = logging.getLogger("trainwatt")

SWITCH = "TRAINWATT_LIGHTNING"
_ON = {"1", "true", "yes", "on"}


class AutoFootprintMonitor(FootprintMonitor):
    """Monitor that does nothing if the user has added one."""

    # not even those of wrong arguments
    passes = ()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See :class:`FootprintMonitor`."""
        callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning's connectors
        monitors = [callback for callback in callbacks if isinstance(callback, FootprintMonitor)]
        if all(isinstance(monitor, AutoFootprintMonitor) for monitor in monitors):
            super().setup(trainer, pl_module, stage)


def callbacks() -> list[FootprintMonitor]:
    """Return a monitor with its defaults if ``TRAINWATT_LIGHTNING=1`` is set, otherwise none."""
    if os.environ.get(SWITCH, "").strip().lower() not in _ON:
        return []
    try:
        return [AutoFootprintMonitor()]
    except Exception as error:  # noqa: BLE001  # whatever it is, the program knows nothing of it
        _log.warning("trainwatt: this Trainer is not measured: %s", error)
        return []
