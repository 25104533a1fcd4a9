"""trainwatt for Keras 3.

>>> from trainwatt_keras import FootprintMonitor  # doctest: +SKIP
>>> model.fit(x, y, epochs=20, callbacks=[FootprintMonitor()])  # doctest: +SKIP
"""

from __future__ import annotations

from trainwatt_keras.monitor import FootprintMonitor
from trainwatt_keras.stopping import GreenEarlyStopping

__all__ = ["FootprintMonitor", "GreenEarlyStopping"]
