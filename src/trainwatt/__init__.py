"""trainwatt: what a training run takes, measured around the framework's own events."""

from __future__ import annotations

from trainwatt.run import Run, measure

__all__ = ["Run", "measure"]
__version__ = "0.1.0"
