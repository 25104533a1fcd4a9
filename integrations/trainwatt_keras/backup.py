"""The state of a monitor in the backup of a training: ``BackupAndRestore`` keeps no callback's state."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

_log = logging.getLogger("trainwatt")

_FILE = "trainwatt.json"


class Backup:
    """State file in the folder of a ``BackupAndRestore``, which deletes that folder when the training has ended.

    Args:
        callbacks: all callbacks of the training; without a ``BackupAndRestore`` among them nothing is kept.
    """

    def __init__(self, callbacks: Iterable[object]) -> None:
        folders = [each.backup_dir for each in callbacks if isinstance(each, keras.callbacks.BackupAndRestore)]
        local = [Path(folder) for folder in folders if "://" not in os.fspath(folder)]
        self._file = local[0] / _FILE if local else None

    def load(self) -> dict[str, Any]:
        """Read the state of a training that was cut short; empty if there is none."""
        try:
            state: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8")) if self._file else {}
        except (OSError, ValueError):
            return {}
        return state

    def save(self, state_dict: Callable[[], Mapping[str, Any]]) -> None:
        """Write the state; a reader sees the old file or the new one, never a part.

        Args:
            state_dict: returns the state; not called if nothing is kept.
        """
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(state_dict()), encoding="utf-8")
            new.replace(self._file)
        except OSError as error:
            _log.warning("trainwatt: no backup, so a resumed training will not count this one: %s", error)
            self._file = None
