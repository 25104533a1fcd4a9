"""Live carbon intensity, for those who ask for it: the only part of trainwatt that uses the network.

>>> from trainwatt import measure
>>> from trainwatt.live import GreatBritain
>>> run = measure(carbon_intensity=GreatBritain(), output_dir=None)
"""

from __future__ import annotations

from trainwatt.live.provider import Interval, Provider, Query
from trainwatt.live.sources import Denmark, ElectricityMaps, GreatBritain

__all__ = ["Denmark", "ElectricityMaps", "GreatBritain", "Interval", "Provider", "Query"]
