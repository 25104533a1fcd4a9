"""The other callbacks of a call: who sees our values, and which of them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import FrameType
from typing import Any

from keras.callbacks import Callback, CallbackList, ProgbarLogger

from trainwatt.reporting.progress_bar import bar_figures

_DEPTH = 8  # frames between a hook and its list: room for subclasses that call their super
_ENDS = ("on_epoch_end", "on_test_end", "on_predict_end")  # where the progress bar writes its last line


def list_of(callback: Callback) -> CallbackList | None:
    """The list that is calling this callback now, which Keras does not tell; None where something else calls it."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the documented way to it, whatever its name
    for _ in range(_DEPTH):
        if frame is None:
            return None
        caller = frame.f_locals.get("self")
        if isinstance(caller, CallbackList) and any(each is callback for each in caller.callbacks):
            return caller
        frame = frame.f_back
    return None


def put_first(callback: Callback) -> CallbackList | None:
    """Move a callback to the front of the list that is calling it, for all after it get what it adds to the logs.

    The others keep their order. The list itself is replaced, because its old one is being iterated over.
    """
    callbacks = list_of(callback)
    if callbacks is not None and callbacks.callbacks[0] is not callback:
        callbacks.callbacks = [callback, *(each for each in callbacks.callbacks if each is not callback)]
    return callbacks


class _Text(float):
    """A figure that the bar prints as it is: of all others it prints four decimals."""

    text: str

    def __truediv__(self, count: float) -> _Text:
        """The bar divides by the number of values that it has added up, which is 1."""
        return self

    def __format__(self, form: str) -> str:
        return self.text


def for_the_bar(logs: Mapping[str, Any], ours: Mapping[str, float], *, shown: bool) -> dict[str, Any]:
    """The logs as the progress bar shows them: of our values only energy and emissions, and these only if wanted."""
    others = {name: value for name, value in logs.items() if name not in ours}
    if shown:
        for figure in bar_figures({name: logs[name] for name in ours if name in logs}):
            others[figure.unit] = value = _Text(figure.value)
            value.text = figure.text
    return others


def shorten_bar(callbacks: CallbackList, ours: Mapping[str, float], undo: ExitStack, *, shown: bool) -> None:
    """Let the list's progress bar show a short form of our values.

    Args:
        callbacks: the list; one without a progress bar is left alone.
        ours: our latest values, as they will be when the bar writes.
        undo: what to do at the end is added to it.
        shown: whether the bar shows anything of ours.
    """
    for bar in callbacks.callbacks:
        if isinstance(bar, ProgbarLogger):
            for name in _ENDS:
                vars(bar)[name] = _shortened(getattr(bar, name), ours, shown=shown)
                undo.callback(vars(bar).pop, name, None)


def _shortened(hook: Callable[..., None], ours: Mapping[str, float], *, shown: bool) -> Callable[..., None]:
    @functools.wraps(hook)
    def shortened(*args: Any) -> None:
        *number, logs = args
        hook(*number, for_the_bar(logs or {}, ours, shown=shown))

    return shortened
