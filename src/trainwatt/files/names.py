"""Checks of the names of files and folders that a user gives, before training starts."""

from __future__ import annotations

import os
from pathlib import Path

# Of a name on all common file systems; on Windows it is 255 UTF-16 units, which are at most as many bytes.
LONGEST_BYTES = 255
_ON_WINDOWS = os.name == "nt"
_WINDOWS_PORTS = {f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10)}
_WINDOWS_DEVICES = {"CON", "PRN", "AUX", "NUL"} | _WINDOWS_PORTS
_WINDOWS_SYMBOLS = frozenset('<>:"|?*\\/')


def fault_of(name: str, *, on_windows: bool = _ON_WINDOWS) -> str:
    """Return why a text cannot be the name of a file or folder; empty if it can.

    Args:
        name: one name, without a folder.
        on_windows: apply the rules of Windows as well.
    """
    if name in ("", ".", ".."):
        return "it names no file"
    if "/" in name or os.sep in name:
        return "it contains a slash"
    # The control characters of ASCII.
    if any(ord(each) < 32 or ord(each) == 127 for each in name):
        return "it contains a control character"
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        return "it contains a character that file names cannot have"
    if size > LONGEST_BYTES:
        return f"it has {size} bytes, and {LONGEST_BYTES} is the most"
    return _windows_fault(name) if on_windows else ""


def _windows_fault(name: str) -> str:
    """Return why Windows does not accept a name.

    Source: https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
    """
    if _WINDOWS_SYMBOLS & set(name):
        return "it contains a symbol that Windows reserves"
    if name.partition(".")[0].rstrip().upper() in _WINDOWS_DEVICES:
        return "it is the name of a device on Windows"
    return "it ends with a dot or a space, which Windows removes" if name[-1] in ". " else ""


def fault_of_path(path: Path, *, on_windows: bool = _ON_WINDOWS) -> str:
    """Return why a path cannot exist, whatever the disk; empty if it can.

    Args:
        path: absolute or relative.
        on_windows: apply the rules of Windows as well.
    """
    parts = (part for part in path.parts if part not in (path.anchor, ".", ".."))
    return next((f"{part[:40]!r}: {fault}" for part in parts if (fault := fault_of(part, on_windows=on_windows))), "")


def shortened(name: str, suffix: str) -> str:
    """Return a name with a suffix, cut before it so that the whole is no longer than a name may be."""
    room = LONGEST_BYTES - len(os.fsencode(suffix))
    return os.fsencode(name)[:room].decode(errors="ignore") + suffix
