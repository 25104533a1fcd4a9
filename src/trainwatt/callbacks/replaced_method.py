"""Methods of the user's objects that are wrapped for a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_ABSENT = object()


class ReplacedMethod:
    """Wrapped method of one object, which ends as if it had never been replaced.

    Others may replace the method of the same object, or that of its class, before, during and after. What they have put
    there is called, and stays. A pickled or copied object has the method that was there before.

    Args:
        owner: the object.
        name: name of the method.
        wrap: makes the wrapper, given a function that calls the present method below it.

    Attributes:
        active: False once the wrapping is over.
        before: what the object itself had under the name, if it had anything.
    """

    def __init__(self, owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        functools.update_wrapper(self, getattr(owner, name), updated=())
        self._owner, self._name, self.active = owner, name, True
        self.before = vars(owner).get(name, _ABSENT)
        self._wrapper = wrap(self._below)
        # Past Keras's and PyTorch's own ways of setting attributes, which look for layers.
        vars(owner)[name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapper, or once it is over the method below it."""
        return (self._wrapper if self.active else self._below)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Return what the method itself would have, such as ``__self__``."""
        if name == "__wrapped__":
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy of the owner gets the method that was there before."""
        if isinstance(self.before, ReplacedMethod):
            return self.before.__reduce__()
        return (getattr, (self._owner, self._name)) if self.before is _ABSENT else (_same, (self.before,))

    def restore(self) -> None:
        """End the wrapping. If somebody else has replaced the method since, theirs stays, and this only calls on."""
        self.active = False
        found = top = vars(self._owner).get(self._name)
        while isinstance(found, ReplacedMethod) and not found.active:
            found = found.before
        if found is top:
            return
        if found is _ABSENT:
            del vars(self._owner)[self._name]
        else:
            vars(self._owner)[self._name] = found

    def _below(self, *args: Any, **kwargs: Any) -> Any:
        if self.before is _ABSENT:
            # That of the class may have been replaced since.
            return getattr(type(self._owner), self._name).__get__(self._owner)(*args, **kwargs)
        method: Any = self.before
        return method(*args, **kwargs)


def _same(value: T) -> T:
    return value
