"""trainwatt for Keras 3.

>>> from trainwatt_keras import FootprintMonitor  # doctest: +SKIP
>>> model.fit(x, y, epochs=20, callbacks=[FootprintMonitor()])  # doctest: +SKIP

Only the names in ``__all__`` are public.
"""

from __future__ import annotations

try:
    from trainwatt_keras.monitor import FootprintMonitor
    from trainwatt_keras.stopping import GreenEarlyStopping
except ModuleNotFoundError as error:
    # a missing backend is Keras's own error: the extra does not choose one
    if str(error.name).partition(".")[0] != "keras":
        raise
    message = 'trainwatt_keras needs Keras 3: pip install "trainwatt[keras]", and a backend such as tensorflow'
    raise ImportError(message, name=error.name) from error

__all__ = ["FootprintMonitor", "GreenEarlyStopping"]
