"""Where a run happens, and what its energy means there."""

from __future__ import annotations

from trainwatt.site.factor import Factor
from trainwatt.site.site import Site

__all__ = ["Factor", "Site"]
