"""The Trainer that calls a hook: transformers does not pass it on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from transformers import Trainer

_HANDLER = "transformers.trainer_callback"


def calling_trainer() -> Trainer | None:
    """Return the Trainer that is calling a callback's hook or its ``state``; None if something else calls it."""
    return next((trainer for trainer, _ in _trainers()), None)


def call_of(trainer: Trainer) -> FrameType | None:
    """Return the outermost frame of a Trainer that is executing in this thread; None if there is none."""
    return next((frame for found, frame in reversed(list(_trainers())) if found is trainer), None)


def _trainers() -> Iterator[tuple[Trainer, FrameType]]:
    """Iterate over the Trainers whose methods are executing, the innermost first.

    Before Python 3.13 a look at the variables of a frame keeps them alive until it ends. So only those of transformers
    are looked at, and that of a subclass which calls the hooks.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the documented way to it, whatever its name
    calls_hooks = False
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module == _HANDLER:
            calls_hooks = True
        elif calls_hooks or module.startswith("transformers."):
            calls_hooks = False
            caller = frame.f_locals.get("self")
            if isinstance(caller, Trainer):
                yield caller, frame
        frame = frame.f_back
