"""Which call of ``fit``, ``evaluate`` or ``predict`` is going on, what it was given, and how it ends.

Keras calls no hook when an exception leaves ``fit``; so that a run still ends at once and as what it was, these three
methods of ``keras.Model`` are wrapped, once in a process, by the first monitor that is made.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import keras

_METHODS = ("fit", "evaluate", "predict")
_MARK = "_tells_trainwatt"


class Call:
    """One call, for as long as it takes.

    Args:
        arguments: what it was given, by name; ``self`` is the model.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self._at_end: list[Callable[[BaseException | None], None]] = []

    def at_end(self, listener: Callable[[BaseException | None], None]) -> None:
        """Tell a listener when the call ends, with the exception that ends it."""
        self._at_end.append(listener)

    @property
    def validates(self) -> bool:
        """Whether it was given something to validate on."""
        return self.arguments.get("validation_data") is not None or bool(self.arguments.get("validation_split"))

    @property
    def samples(self) -> int | None:
        """How many samples it was given; None where only iterating would tell."""
        shape = getattr(_first(self.arguments.get("x")), "shape", None)
        if not shape or shape[0] is None or self.arguments.get("steps") is not None:
            return None
        return int(shape[0])

    def __enter__(self) -> None:
        _stack().append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _stack().remove(self)
        for listener in self._at_end:
            listener(error)


def current(model: object) -> Call | None:
    """The innermost call in this thread, if it is one of this model."""
    stack = _stack()
    return stack[-1] if stack and stack[-1].arguments.get("self") is model else None


def watch() -> None:
    """From now on know of every call."""
    for name in _METHODS:
        method = getattr(keras.Model, name)
        if not hasattr(method, _MARK):
            setattr(keras.Model, name, _watched(method))


def _watched(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            arguments = signature.bind(*args, **kwargs).arguments
        except TypeError:  # the method itself will say it better
            arguments = {}
        with Call(arguments):
            return method(*args, **kwargs)

    setattr(call, _MARK, True)
    return call


def _first(inputs: Any) -> Any:
    """The first of a model's inputs, which all have as many samples."""
    while isinstance(inputs, (list, tuple, dict)) and inputs:
        inputs = next(iter(inputs.values() if isinstance(inputs, dict) else inputs))
    return inputs


_thread = threading.local()


def _stack() -> list[Call]:
    stack: list[Call] | None = getattr(_thread, "stack", None)
    if stack is None:
        stack = _thread.stack = []
    return stack
