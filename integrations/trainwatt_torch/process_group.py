"""The key-value store of PyTorch's process group."""

from __future__ import annotations

from typing import Any

from torch import distributed


def default_store() -> Any | None:
    """Return the store that all ranks share; None if there is no process group, or if its backend has no store."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    try:
        # There is no public way to it. The store of MPI is None.
        return distributed.distributed_c10d._get_default_store()  # noqa: SLF001
    except (AttributeError, RuntimeError, ValueError):
        return None
