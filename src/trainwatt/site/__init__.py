"""Where a run happens, and what its energy means there.

What making the hardware emitted is in :mod:`trainwatt.site.hardware`, everyday comparisons in
:mod:`trainwatt.site.everyday`.
"""

from __future__ import annotations

from trainwatt.site.factor import Factor
from trainwatt.site.site import Site

__all__ = ["Factor", "Site"]
