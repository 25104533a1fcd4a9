"""Keys of callbacks' states in checkpoints, also if a Trainer has several callbacks of a kind."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from trainwatt.callbacks.hooks import Hooks
from trainwatt_lightning.compat import LightningModule, Trainer

# our key in a checkpoint
_STATES = "trainwatt"

_made = itertools.count(1)
# by Trainer and kind: those that it has set up in its present call
_enrolled: weakref.WeakKeyDictionary[Any, dict[str, list[weakref.ref[Any]]]] = weakref.WeakKeyDictionary()


class Numbered(Hooks):
    """First base of a callback that has a state.

    Lightning refuses callbacks with equal keys when a Trainer is made, before any of them has met it. Until then the
    key is unique in this process. Then it holds the number among the callbacks of its kind in the order in which the
    Trainer sets them up, which is that of its list. So a resumed training finds it again.
    """

    _number: int | None = None
    _unique = 0

    @property
    def number(self) -> int:
        """Number among the callbacks of this kind in the Trainer, from 0."""
        return self._number or 0

    @property
    def kind(self) -> str:
        """Key of the first one of this kind."""
        raise NotImplementedError

    @property
    def state_key(self) -> str:
        """Key in a checkpoint, one for each callback of the Trainer."""
        if self._number is None:
            self._unique = self._unique or next(_made)
            return f"{self.kind} (made {self._unique})"
        return f"{self.kind} {self._number + 1}" if self._number else self.kind

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        raise NotImplementedError

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state."""
        raise NotImplementedError

    def enroll(self, trainer: Trainer) -> None:
        """Take the next number in a Trainer, whose call begins."""
        peers = _enrolled.setdefault(trainer, {}).setdefault(self.kind, [])
        if any(peer() is self for peer in peers):
            # its next call
            peers.clear()
        self._number = len(peers)
        peers.append(weakref.ref(self))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the state of a callback that another one holds, whose own state alone Lightning asks for."""
        if self.state_key not in checkpoint.get("callbacks", {}) and (state := self.state_dict()):
            checkpoint.setdefault(_STATES, {})[self.state_key] = state

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue from what such a callback has saved; version 0.2 did so for all monitors, by number."""
        states = checkpoint.get(_STATES, {})
        state = states.get(self.state_key) or states.get(str(self.number))
        if state and self.state_key not in checkpoint.get("callbacks", {}):
            self.load_state_dict(state)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of a copy, without those by which it belongs to a Trainer."""
        # The first two hold the module; Lightning sets them on each callback.
        ties = ("log", "log_dict", "_number", "_unique")
        return {name: value for name, value in super().__getstate__().items() if name not in ties}


def all_callbacks(trainer: Any) -> list[Any]:
    """Return the callbacks of a Trainer, those that another callback holds included."""
    found = []
    for callback in trainer.callbacks:
        found.append(callback)
        for value in list(vars(callback).values()):
            held = value if isinstance(value, (list, tuple)) else (value,)
            found += [each for each in held if isinstance(each, Numbered)]
    return found
