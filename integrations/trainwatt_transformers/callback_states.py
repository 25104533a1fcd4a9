"""States of our callbacks in ``trainer_state.json``, where transformers keeps them by the name of the class.

transformers itself appends to a list of states with each checkpoint, and restores its first ones. And it replaces
callbacks by new ones that have the arguments of the checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, ClassVar, Protocol

from transformers import Trainer
from transformers.trainer_callback import TrainerState

_log = logging.getLogger("trainwatt")

# the key of versions up to 0.2, which held the state of the monitor
_FORMER = "trainwatt"


class Stateful(Protocol):
    """Callback of ours with a state."""

    measures: ClassVar[bool]

    def state(self) -> dict[str, Any]:
        """Return the arguments and attributes."""
        ...


def callback_states(holder: object) -> dict[str, Any]:
    """Return the states of callbacks that a state of the Trainer, or of a checkpoint, holds; never raises."""
    states: Any = getattr(holder, "stateful_callbacks", None)
    return states if isinstance(states, dict) else {}


def make_room(trainer: Trainer, callback: object) -> None:
    """Let transformers find the state of a callback that has joined a training later: it looks up those it knows."""
    callback_states(getattr(trainer, "state", None)).setdefault(type(callback).__name__, {})


def put_states(trainer: Trainer, callbacks: Iterable[Stateful]) -> None:
    """Put our states into the Trainer's state, which is about to be saved.

    transformers adds those of the callbacks in its own list, so only those that another callback holds are added here.
    """
    states, listed = callback_states(trainer.state), trainer.callback_handler.callbacks
    for name, group in _by_name(callbacks).items():
        held = [each.state() for each in group if not any(each is other for other in listed)]
        states[name] = held if len(group) > 1 else next(iter(held), {})


def take_states(state: TrainerState, callbacks: Iterable[Stateful]) -> list[tuple[Any, dict[str, Any]]]:
    """Take our states out of a checkpoint's, and return those that are found with the callback that they belong to.

    Of several callbacks of a class, each gets the state that was saved with its own arguments, and the others the rest
    in their order.
    """
    states, found = callback_states(state), []
    for name, group in _by_name(callbacks).items():
        saved, former = states.get(name), states.get(_FORMER) if group[0].measures else None
        if saved is None and isinstance(former, dict):
            saved = {"attributes": {"measured": former}}
        given = [each for each in (saved if isinstance(saved, list) else [saved]) if isinstance(each, dict) and each]
        found += _matched(group, given)
        for key in (name, _FORMER) if group[0].measures else (name,):
            states.pop(key, None)
    return found


def attributes_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes in a state, whatever it is."""
    attributes = state.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that ``trainer_state.json`` can hold; a Site or a live source must be given again."""
    texts = {name: str(value) if isinstance(value, PurePath) else value for name, value in options.items()}
    return {name: value for name, value in texts.items() if _is_plain(value)}


def _by_name(callbacks: Iterable[Stateful]) -> dict[str, list[Stateful]]:
    groups: dict[str, list[Stateful]] = {}
    for each in callbacks:
        groups.setdefault(type(each).__name__, []).append(each)
    return groups


def _matched(group: list[Stateful], saved: list[dict[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    """Match callbacks with states, of which the last are the latest."""
    found, rest, left = [], [], list(saved)
    for each in group:
        arguments = _jsonable(each.state().get("args"))
        same = next((index for index in reversed(range(len(left))) if left[index].get("args") == arguments), None)
        if same is None:
            rest.append(each)
        else:
            found.append((each, left.pop(same)))
    return [*found, *zip(rest, left[-len(rest) :], strict=False)]


def _jsonable(value: Any) -> Any:
    """Return a value as a JSON file gives it back."""
    if isinstance(value, dict):
        return {name: _jsonable(each) for name, each in value.items()}
    return [_jsonable(each) for each in value] if isinstance(value, (list, tuple)) else value


def _is_plain(value: object) -> bool:
    return (
        value is None
        or isinstance(value, (str, int, float))
        or (isinstance(value, (list, tuple)) and all(map(_is_plain, value)))
    )
