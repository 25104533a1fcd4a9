"""trainwatt: what a training run takes, measured around the framework's own events."""

from __future__ import annotations

from trainwatt.green import GreenStopper
from trainwatt.run import Run, measure
from trainwatt.site import Site

__all__ = ["GreenStopper", "Run", "Site", "measure"]
__version__ = "0.1.0"
