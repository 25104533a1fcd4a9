"""The lists of callbacks that call ours. Keras has no hook to order them, and none for its progress bar."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import FrameType
from typing import Any, NamedTuple

from keras.callbacks import Callback, CallbackList, History, ProgbarLogger

from trainwatt.callbacks.replaced_method import ReplacedMethod
from trainwatt.reporting.progress_bar import bar_figures
from trainwatt_keras.model_calls import is_call
from trainwatt_keras.published import Published

# frames between a hook and the outermost list: room for callbacks that hold others, and for subclasses
_DEPTH = 32
# how far callbacks may hold others
_NESTED = 3
# where the progress bar writes its last line
_ENDS = ("on_epoch_end", "on_test_end", "on_predict_end")


class Place(NamedTuple):
    """A list that is calling a callback now.

    Attributes:
        callbacks: the list.
        member: the callback in it that is called: ours, or one that holds ours.
        logs: the dictionary that it hands from one callback to the next; None if there is none.
    """

    callbacks: CallbackList
    member: Callback | None
    logs: dict[str, Any] | None


def places_of(callback: Callback) -> list[Place]:
    """Return the lists that are calling this callback now, the innermost first.

    It has no list if something else calls it, and several if another callback with a list of its own holds it.
    """
    found: dict[int, Place] = {}
    for frame in _hooks(sys._getframe(1)):  # noqa: SLF001  # the documented way to it, whatever its name
        # Before Python 3.13 this keeps the frame's variables alive until it ends, which a hook soon does.
        variables = frame.f_locals
        caller = variables.get("self")
        if isinstance(caller, CallbackList) and id(caller) not in found:
            current, logs = variables.get("callback"), variables.get("logs")
            inside = next((each for each in caller.callbacks if each is callback or each is current), None)
            found[id(caller)] = Place(caller, inside, logs if isinstance(logs, dict) else None)
    return list(found.values())


def _hooks(frame: FrameType | None) -> Iterator[FrameType]:
    """Iterate over the frames of hooks from here up to the call of the model, if it is one."""
    for _ in range(_DEPTH):
        if frame is None or is_call(frame.f_code):
            return
        if frame.f_code.co_name.startswith(("on_", "_on_", "set_model")):
            yield frame
        frame = frame.f_back


def all_callbacks(places: Iterable[Place]) -> list[Callback]:
    """Return all callbacks of the lists, and those that these hold."""
    found: dict[int, Callback] = {}
    for place in places:
        _collect(place.callbacks.callbacks, found, _NESTED)
    return list(found.values())


def _collect(values: Iterable[object], found: dict[int, Callback], depth: int) -> None:
    for value in values:
        if isinstance(value, Callback) and id(value) not in found:
            if not isinstance(value, CallbackList):
                found[id(value)] = value
            held = vars(value).values() if depth else ()
            _collect([part for each in held for part in _parts(each)], found, depth - 1)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, (list, tuple)):
        return value
    return value.values() if isinstance(value, dict) else (value,)


class _Order:
    """The order of a list's callbacks while ours are in front: it is put back when the last of them lets go."""

    def __init__(self, callbacks: CallbackList) -> None:
        self.before = self.ours = callbacks.callbacks
        self.borrowers: set[int] = set()

    def put_back(self, callbacks: CallbackList) -> None:
        """Put the callbacks into the order that they had, those that were added since at the end."""
        now = callbacks.callbacks
        if now is self.ours:
            kept = [each for each in self.before if any(each is other for other in now)]
            added = [each for each in now if not any(each is other for other in self.before)]
            self.before[:] = [*kept, *added]
            callbacks.callbacks = self.before


_orders: weakref.WeakKeyDictionary[CallbackList, _Order] = weakref.WeakKeyDictionary()


def put_first(callback: Callback, undo: ExitStack | None = None) -> list[Place]:
    """Move a callback to the front of the lists that are calling it: callbacks see only what earlier ones log.

    The others keep their order. The list in each is replaced, because the old one is being iterated over.

    Args:
        callback: ours. In a list that calls it through another callback, that one is moved.
        undo: gets what restores the order; None: a later call does that.
    """
    places = places_of(callback)
    for callbacks, member, _ in places:
        order = _orders.setdefault(callbacks, _Order(callbacks))
        if undo is not None:
            order.borrowers.add(id(callback))
            undo.callback(_let_go, weakref.ref(callbacks), id(callback))
        if member is not None and callbacks.callbacks[0] is not member:
            order.ours = [member, *(each for each in callbacks.callbacks if each is not member)]
            callbacks.callbacks = order.ours
    return places


def _let_go(reference: weakref.ref[CallbackList], borrower: int) -> None:
    callbacks = reference()
    order = _orders.get(callbacks) if callbacks is not None else None
    if callbacks is not None and order is not None:
        order.borrowers.discard(borrower)
        if not order.borrowers:
            del _orders[callbacks]
            order.put_back(callbacks)


def add_last(callback: Callback, places: list[Place], undo: ExitStack) -> bool:
    """Add a callback at the end of the outermost list, before Keras's own that keep what is logged.

    Args:
        callback: is called after the user's callbacks.
        places: the lists, the outermost last.
        undo: gets what removes it.

    Returns:
        False if there is no list.
    """
    if not places:
        return False
    callbacks = places[-1].callbacks
    listed = callbacks.callbacks
    end = len(listed)
    while end and isinstance(listed[end - 1], (History, ProgbarLogger)):
        end -= 1
    changed = [*listed[:end], callback, *listed[end:]]
    order = _orders.setdefault(callbacks, _Order(callbacks))
    order.ours = callbacks.callbacks = changed
    undo.callback(_remove, weakref.ref(callbacks), callback)
    return True


def _remove(reference: weakref.ref[CallbackList], callback: Callback) -> None:
    callbacks = reference()
    if callbacks is not None:
        callbacks.callbacks[:] = [each for each in callbacks.callbacks if each is not callback]


def leave(callback: Callback) -> None:
    """Remove a callback from the innermost list that is calling it."""
    for callbacks, member, _ in places_of(callback)[:1]:
        if member is callback:
            callbacks.callbacks = [each for each in callbacks.callbacks if each is not callback]


class _Text(float):
    """Value with a text of its own on the progress bar, which prints four decimals of all others."""

    text: str

    def __truediv__(self, count: float) -> _Text:
        """Return the value itself: the bar divides by the number of added values, which is 1."""
        return self

    def __format__(self, form: str) -> str:
        return self.text


def for_the_bar(logs: Mapping[str, Any], ours: Published, *, shown: bool) -> dict[str, Any]:
    """Return the logs for the progress bar: of our values only energy and emissions, if they are wanted."""
    others = {name: value for name, value in logs.items() if name not in ours.values}
    if shown:
        for figure in bar_figures(ours.figures):
            others[figure.unit] = value = _Text(figure.value)
            value.text = figure.text
    return others


def shorten_bars(callbacks: Iterable[Callback], ours: Published, undo: ExitStack, *, shown: bool) -> None:
    """Shorten our values on the progress bars.

    Args:
        callbacks: all callbacks; those that are no progress bar are left alone.
        ours: our values; updated in place before the bar writes.
        undo: gets what restores the bars at the end.
        shown: show energy and emissions.
    """
    for bar in callbacks:
        if isinstance(bar, ProgbarLogger):
            for name in _ENDS:
                wrap = functools.partial(_shortened, ours=ours, shown=shown, before=int(name == "on_epoch_end"))
                undo.callback(ReplacedMethod(bar, name, wrap).restore)


def _shortened(hook: Callable[..., None], *, ours: Published, shown: bool, before: int) -> Callable[..., None]:
    """Wrap a hook whose logs come after so many other arguments."""

    def shortened(*args: Any, logs: Mapping[str, Any] | None = None) -> None:
        given = args[before] if len(args) > before else logs
        hook(*args[:before], for_the_bar(given or {}, ours, shown=shown))

    return shortened
