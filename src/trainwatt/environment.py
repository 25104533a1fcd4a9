"""Software versions and machine size for a record."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from trainwatt.version import __version__


@cache
def environment() -> dict[str, Any]:
    """Return versions and machine size, JSON-able."""
    # Both are slow to import, so `import trainwatt` must not load them.
    import platform  # noqa: PLC0415

    import psutil  # noqa: PLC0415

    return {
        "trainwatt": __version__,
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu_count": os.cpu_count(),
        "ram_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }
