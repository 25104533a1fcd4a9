"""The place of a run, and its factors for emissions, water and cost.

Embodied emissions of hardware are in :mod:`trainwatt.site.hardware`.
"""

from __future__ import annotations

from trainwatt.site.factor import Factor
from trainwatt.site.site import Site

__all__ = ["Factor", "Site"]
