"""Hooks of a framework's callback that never raise, and copies of it that are idle."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from trainwatt.containment import Failures
from trainwatt.errors import ArgumentError
from trainwatt.tracking.guard import IdleCopies

_PLUGINS = "trainwatt_"
# Hooks of every batch stay as they are: they only call what never raises, and a wrapper would double their cost.
_OFTEN = ("batch", "step")


class Hooks(IdleCopies):
    """First base of a callback: what fails in one of its hooks costs this hook and one warning.

    Each hook that a plugin of trainwatt defines is wrapped. Those of a user's subclass are the user's own.

    Attributes:
        passes: exceptions that the hooks raise on purpose.
    """

    passes: ClassVar[tuple[type[BaseException], ...]] = (ArgumentError,)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Wrap the hooks of a class of ours."""
        super().__init_subclass__(**kwargs)
        if not cls.__module__.startswith(_PLUGINS):
            return
        for name, method in list(vars(cls).items()):
            if _is_hook(name) and callable(method):
                setattr(cls, name, _contained(method))


def _is_hook(name: str) -> bool:
    return (name.startswith("on_") or name in ("setup", "teardown")) and not any(often in name for often in _OFTEN)


def _contained(hook: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(hook)
    def contained(self: Hooks, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except self.passes:
            raise
        except Exception:  # noqa: BLE001  # whatever it is, it is ours, not the training's
            failures: Failures = vars(self).setdefault("_hook_failures", Failures())
            failures.failed(f"{type(self).__name__}.{hook.__name__}", "training goes on")
            return None

    return contained
