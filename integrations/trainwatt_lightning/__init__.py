"""trainwatt for PyTorch Lightning.

>>> from trainwatt_lightning import FootprintMonitor  # doctest: +SKIP
>>> trainer = Trainer(max_epochs=20, callbacks=[FootprintMonitor()])  # doctest: +SKIP

Only the names in ``__all__`` are public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from trainwatt_lightning.monitor import FootprintMonitor
except ModuleNotFoundError as error:
    if str(error.name).partition(".")[0] not in {"lightning", "pytorch_lightning", "torch"}:
        raise
    message = 'trainwatt_lightning needs PyTorch Lightning: pip install "trainwatt[lightning]"'
    raise ImportError(message, name=error.name) from error

if TYPE_CHECKING:
    from trainwatt_lightning.stopping import GreenEarlyStopping

__all__ = ["FootprintMonitor", "GreenEarlyStopping"]


def __getattr__(name: str) -> Any:
    # imported on first use, because not every program needs it
    if name == "GreenEarlyStopping":
        from trainwatt_lightning.stopping import GreenEarlyStopping  # noqa: PLC0415

        return GreenEarlyStopping
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
