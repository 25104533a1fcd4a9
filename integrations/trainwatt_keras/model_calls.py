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
from types import CodeType, TracebackType
from typing import Any

import keras

from trainwatt.callbacks.lifecycle import first_leaf
from trainwatt.containment import Failures

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
        self._failures = Failures()

    def at_end(self, listener: Callable[[BaseException | None], None]) -> None:
        """Call a listener when the call ends, with the exception that ends it."""
        self._at_end.append(listener)

    def around_inner(self, context: Callable[[Call], AbstractContextManager[None]]) -> None:
        """Enter a context around each call of the same model within this one, such as an evaluation in a training."""
        self._around_inner.append(context)

    @property
    def epochs(self) -> range:
        """Numbers of the epochs of a training, from 0."""
        return range(self.arguments.get("initial_epoch", 0), self.arguments.get("epochs", 1))

    @property
    def validates(self) -> bool:
        """True if the call will evaluate: it has validation data, and an epoch at which to use it."""
        given = self.arguments
        if given.get("validation_data") is None and not given.get("validation_split"):
            return False
        return any(map(self.evaluates, self.epochs))

    def evaluates(self, epoch: int) -> bool:
        """Return True if there is an evaluation at the end of an epoch, given the data for it.

        Args:
            epoch: its number, from 0.
        """
        often = self.arguments.get("validation_freq", 1)
        return epoch + 1 in often if isinstance(often, Container) else (epoch + 1) % often == 0

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
            with self._failures.contained("the phase of an evaluation"):
                self._outer.enter_context(context(self))
        _stack().append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _stack().remove(self)
        with self._failures.contained("the phase of an evaluation"):
            self._outer.close()
        for listener in self._at_end:
            with self._failures.contained(f"the end of a {self.method}"):
                listener(error)


def current(model: object) -> Call | None:
    """Return the innermost call in this thread, if it is one of this model."""
    stack = _stack()
    return stack[-1] if stack and stack[-1].arguments.get("self") is model else None


def is_call(code: CodeType) -> bool:
    """Return True if a frame's code is that of a wrapped method: what is above it belongs to other calls."""
    return code in _codes


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
    # of functools.wraps, whose type has none
    _codes.add(call.__code__)  # type: ignore[attr-defined]
    return call


_codes: set[CodeType] = set()
_thread = threading.local()


def _stack() -> list[Call]:
    stack: list[Call] | None = getattr(_thread, "stack", None)
    if stack is None:
        stack = _thread.stack = []
    return stack
