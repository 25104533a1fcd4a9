"""The state of our callbacks in the backup of a training: ``BackupAndRestore`` keeps no callback's state."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

from trainwatt.files.output_file import replace
from trainwatt.files.strict_json import dumps

_log = logging.getLogger("trainwatt")


class Backup:
    """State file in the folder of a ``BackupAndRestore``, which deletes that folder when the training has ended.

    Args:
        callbacks: all callbacks of the training; without a ``BackupAndRestore`` among them nothing is kept.
        part: tells the files of several callbacks apart; empty: that of the monitor.
    """

    def __init__(self, callbacks: Iterable[object], part: str = "") -> None:
        folders = [each.backup_dir for each in callbacks if isinstance(each, keras.callbacks.BackupAndRestore)]
        local = [Path(folder) for folder in folders if "://" not in os.fspath(folder)]
        mark = f"-{hashlib.sha256(part.encode()).hexdigest()[:8]}" if part else ""
        self._file = local[0] / f"trainwatt{mark}.json" if local else None

    def load(self) -> dict[str, Any]:
        """Read the state of a training that was cut short; empty if there is none."""
        try:
            state: Any = json.loads(self._file.read_text(encoding="utf-8")) if self._file else {}
        # deeply nested brackets exhaust the stack
        except (OSError, ValueError, RecursionError):
            return {}
        return state if isinstance(state, dict) else {}

    def save(self, state_dict: Callable[[], Mapping[str, Any]]) -> None:
        """Write the state; a reader sees the old file or the new one, never a part.

        Args:
            state_dict: returns the state; not called if nothing is kept.
        """
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace(self._file, dumps(state_dict()).encode())
        except OSError as error:
            _log.warning("trainwatt: no backup, so a resumed training will not count this one: %s", error)
            self._file = None
