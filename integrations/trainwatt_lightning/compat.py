"""Lightning's callback class, under whichever of its two names it is in use."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    LightningModule = Trainer = object
    _names = [name for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules]
    if not _names:
        _names = ["lightning.pytorch" if find_spec("lightning") else "pytorch_lightning"]
    MisconfigurationException = import_module(f"{_names[0]}.utilities.exceptions").MisconfigurationException
    _bases = tuple(import_module(name).Callback for name in _names)
    # each package's Trainer accepts its own class only, and a program may have imported both
    Callback = _bases[0] if len(_bases) == 1 else type("Callback", _bases, {})

__all__ = ["Callback", "LightningModule", "MisconfigurationException", "Trainer"]
