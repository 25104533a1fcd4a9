"""trainwatt for PyTorch Lightning.

>>> from trainwatt_lightning import FootprintMonitor  # doctest: +SKIP
>>> trainer = Trainer(max_epochs=20, callbacks=[FootprintMonitor()])  # doctest: +SKIP
"""

from __future__ import annotations

from trainwatt_lightning.monitor import FootprintMonitor
from trainwatt_lightning.stopping import GreenEarlyStopping

__all__ = ["FootprintMonitor", "GreenEarlyStopping"]
