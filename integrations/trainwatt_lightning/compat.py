"""Lightning's callback classes, under whichever of its two names a program uses.

``lightning.pytorch`` and ``pytorch_lightning`` are two packages with the same classes, and each Trainer accepts its own
only. So our callbacks derive from those of each package that the program has imported, and of one that it imports later
from then on. Neither is imported for the sake of the other, which takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import EarlyStopping
else:
    LightningModule = Trainer = object

    class _Unbound:
        """Base of our callbacks as long as no package is imported."""

    class Callback(_Unbound):
        """Lightning's Callback, of each package in use."""

    class EarlyStopping(_Unbound):
        """Lightning's EarlyStopping, of each package in use."""


class _Watch:
    """Finder that finds nothing: it is asked for each module that is imported, and so knows when a package has come."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        """Take over the classes of a package whose callbacks are complete."""
        if name.startswith(_PACKAGES):
            bind()


_watch = _Watch()
_bound: list[str] = []


def bind() -> None:
    """Derive our callbacks from those of each package that is imported by now."""
    for package in _PACKAGES:
        early_stopping = sys.modules.get(f"{package}.callbacks.early_stopping")
        if package not in _bound and hasattr(early_stopping, "EarlyStopping"):
            _bound.append(package)
    modules = [sys.modules[f"{package}.callbacks.early_stopping"] for package in _bound]
    # EarlyStopping comes late in the import of a package, long after Callback, and before its Trainer.
    for ours in (Callback, EarlyStopping):
        bases = tuple(getattr(module, ours.__name__) for module in modules)
        if bases and ours.__bases__ != bases:
            ours.__bases__ = bases
    if len(_bound) == len(_PACKAGES) and _watch in sys.meta_path:
        sys.meta_path.remove(_watch)


def misconfiguration(message: str) -> Exception:
    """Return Lightning's error for a wrong argument, of each package in use."""
    packages = _bound or [next(package for package in _PACKAGES if find_spec(package.partition(".")[0]))]
    errors = [import_module(f"{package}.utilities.exceptions").MisconfigurationException for package in packages]
    kind = errors[0] if len(set(errors)) == 1 else type("MisconfigurationException", tuple(errors), {})
    error: Exception = kind(message)
    return error


if not any(find_spec(package.partition(".")[0]) for package in _PACKAGES):
    raise ModuleNotFoundError("No module named 'lightning'", name="lightning")
if not TYPE_CHECKING:
    sys.meta_path.insert(0, _watch)
    bind()

__all__ = ["Callback", "EarlyStopping", "LightningModule", "Trainer", "bind", "misconfiguration"]
