"""trainwatt: what a training run takes, measured around the framework's own events."""

from __future__ import annotations

__version__ = "0.1.0"
