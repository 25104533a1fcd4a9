"""Calls of ``fit``, ``evaluate`` and ``predict``: their arguments, and how they end.

Keras has no hook for an exception that leaves ``fit``. The first monitor of a process therefore wraps these three
methods of ``keras.Model``, so that a run ends at once, and with the right status.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any

import keras

from trainwatt.callbacks.lifecycle import first_leaf

_METHODS = ("fit", "evaluate", "predict")
_MARK = "_tells_trainwatt"


class Call:
    """One call, while it is going on.

    Args:
        method: name of the method.
        arguments: its arguments by name; ``self`` is the model.
    """

    def __init__(self, method: str, arguments: dict[str, Any]) -> None:
        self.method, self.arguments = method, arguments
        self._at_end: list[Callable[[BaseException | None], None]] = []
        self._around_inner: list[Callable[[Call], AbstractContextManager[None]]] = []
        self._outer = ExitStack()

    def at_end(self, listener: Callable[[BaseException | None], None]) -> None:
        """Call a listener when the call ends, with the exception that ends it."""
        self._at_end.append(listener)

    def around_inner(self, context: Callable[[Call], AbstractContextManager[None]]) -> None:
        """Enter a context around each call of the same model within this one, such as an evaluation in a training."""
        self._around_inner.append(context)

    @property
    def validates(self) -> bool:
        """True if the call will evaluate: it has validation data, and an epoch at which to use it."""
        given, often = self.arguments, self.arguments.get("validation_freq", 1)
        if given.get("validation_data") is None and not given.get("validation_split"):
            return False
        epochs = range(given.get("initial_epoch", 0) + 1, given.get("epochs", 1) + 1)
        return any(epoch in often if isinstance(often, Container) else epoch % often == 0 for epoch in epochs)

    @property
    def samples(self) -> int | None:
        """Number of samples; None if only iterating over the data would tell."""
        shape = getattr(first_leaf(self.arguments.get("x")), "shape", None)
        if not shape or shape[0] is None or self.arguments.get("steps") is not None:
            return None
        return int(shape[0])

    def __enter__(self) -> None:
        outer = current(self.arguments.get("self"))
        for context in outer._around_inner if outer else ():  # noqa: SLF001  # of its own class
            self._outer.enter_context(context(self))
        _stack().append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _stack().remove(self)
        self._outer.close()
        for listener in self._at_end:
            listener(error)


def current(model: object) -> Call | None:
    """Return the innermost call in this thread, if it is one of this model."""
    stack = _stack()
    return stack[-1] if stack and stack[-1].arguments.get("self") is model else None


def watch() -> None:
    """Wrap the methods of ``keras.Model``, once."""
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
        with Call(method.__name__, arguments):
            return method(*args, **kwargs)

    setattr(call, _MARK, True)
    return call


_thread = threading.local()


def _stack() -> list[Call]:
    stack: list[Call] | None = getattr(_thread, "stack", None)
    if stack is None:
        stack = _thread.stack = []
    return stack
