"""The version of the package: a leaf, so that whoever needs it imports nothing else."""

from __future__ import annotations

__version__ = "0.1.0"
