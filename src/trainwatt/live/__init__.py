"""Optional live carbon intensity, the only part of trainwatt that uses the network.

>>> from trainwatt import measure
>>> from trainwatt.live import GreatBritain
>>> run = measure(carbon_intensity=GreatBritain(), output_dir=None)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainwatt.live.provider import Interval, Provider, Query

if TYPE_CHECKING:
    from trainwatt.live.sources import Denmark, ElectricityMaps, GreatBritain

__all__ = ["Denmark", "ElectricityMaps", "GreatBritain", "Interval", "Provider", "Query"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        # Rarely used.
        from trainwatt.live import sources  # noqa: PLC0415

        return getattr(sources, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
