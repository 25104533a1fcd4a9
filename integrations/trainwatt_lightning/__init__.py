"""trainwatt for PyTorch Lightning.

>>> from trainwatt_lightning import FootprintMonitor  # doctest: +SKIP
>>> trainer = Trainer(max_epochs=20, callbacks=[FootprintMonitor()])  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainwatt_lightning.monitor import FootprintMonitor

if TYPE_CHECKING:
    from trainwatt_lightning.stopping import GreenEarlyStopping

__all__ = ["FootprintMonitor", "GreenEarlyStopping"]


def __getattr__(name: str) -> Any:
    """What only some programs need is imported when it is asked for."""
    if name == "GreenEarlyStopping":
        from trainwatt_lightning.stopping import GreenEarlyStopping  # noqa: PLC0415

        return GreenEarlyStopping
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
