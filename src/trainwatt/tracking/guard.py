"""Once training runs nothing of ours may raise into it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class _GivesUp(Protocol):
    def give_up(self) -> None: ...


S = TypeVar("S", bound=_GivesUp)


def never_raises(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R | None]:
    """A method that raises nothing: what fails is told once, by ``give_up``, and measuring ends."""

    @functools.wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001  # whatever it is, it is ours, not the training's
            self.give_up()
            return None

    return wrapper
