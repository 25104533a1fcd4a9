"""A callback that holds others and passes every hook on to them."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class Composite(TrainerCallback):
    """Calls the hooks of its parts.

    Args:
        parts: other callbacks.
    """

    def __init__(self, *parts: TrainerCallback) -> None:
        self.parts = parts

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return object.__getattribute__(self, name)

        def hook(*args: Any, **kwargs: Any) -> None:
            for part in self.parts:
                getattr(part, name)(*args, **kwargs)

        return hook
