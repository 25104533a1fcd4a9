"""What a record says of the software and the machine that made it."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from trainwatt.version import __version__


@cache
def environment() -> dict[str, Any]:
    """Versions and size of the machine, JSON-able."""
    import platform  # noqa: PLC0415  # not when trainwatt is imported: both take a while

    import psutil  # noqa: PLC0415

    return {
        "trainwatt": __version__,
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu_count": os.cpu_count(),
        "ram_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }
