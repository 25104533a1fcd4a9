"""The list of callbacks that calls ours. Keras has no hook to order it, and none for its progress bar."""

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
    """Return the list that is calling this callback now; None if something else calls it."""
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
    """Move a callback to the front of the list that is calling it: callbacks see only what earlier ones log.

    The others keep their order. The list object is replaced, because the old one is being iterated over.
    """
    callbacks = list_of(callback)
    if callbacks is not None and callbacks.callbacks[0] is not callback:
        callbacks.callbacks = [callback, *(each for each in callbacks.callbacks if each is not callback)]
    return callbacks


class _Text(float):
    """Value with a text of its own on the progress bar, which prints four decimals of all others."""

    text: str

    def __truediv__(self, count: float) -> _Text:
        """Return the value itself: the bar divides by the number of added values, which is 1."""
        return self

    def __format__(self, form: str) -> str:
        return self.text


def for_the_bar(logs: Mapping[str, Any], ours: Mapping[str, float], *, shown: bool) -> dict[str, Any]:
    """Return the logs for the progress bar: of our values only energy and emissions, if they are wanted."""
    others = {name: value for name, value in logs.items() if name not in ours}
    if shown:
        for figure in bar_figures({name: logs[name] for name in ours if name in logs}):
            others[figure.unit] = value = _Text(figure.value)
            value.text = figure.text
    return others


def shorten_bar(callbacks: CallbackList, ours: Mapping[str, float], undo: ExitStack, *, shown: bool) -> None:
    """Shorten our values on the list's progress bar.

    Args:
        callbacks: the list; one without a progress bar is left alone.
        ours: our latest values; updated in place before the bar writes.
        undo: gets what restores the bar at the end.
        shown: show energy and emissions.
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
