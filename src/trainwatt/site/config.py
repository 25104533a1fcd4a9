"""Site settings from environment variables and one small TOML file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.schema.json_file import read_text
from trainwatt.site.layers import Layer, Setting

WORDS = ("zone", "cloud", "electricitymaps_token")
NUMBERS = ("pue", "wue", "tariff", "market_intensity")
EITHER = ("carbon_intensity",)
KEYS = WORDS + NUMBERS + EITHER

_PREFIX = "TRAINWATT_"
_FILE = _PREFIX + "CONFIG"
_NAME = "trainwatt.toml"
_MOST_BYTES = 1_000_000


def from_environment(environ: Mapping[str, str]) -> Layer:
    """Read ``TRAINWATT_ZONE``, ``TRAINWATT_PUE`` and so on; empty variables are ignored.

    Raises:
        ArgumentError: if a variable that must be a number is not.
    """
    given = {key: (_PREFIX + key.upper(), environ.get(_PREFIX + key.upper(), "").strip()) for key in KEYS}
    return {
        key: Setting(_typed(key, text, variable), variable, f"given by {variable}")
        for key, (variable, text) in given.items()
        if text
    }


def from_file(environ: Mapping[str, str], root: Path = Path("/")) -> Layer:
    """Read the file named by ``TRAINWATT_CONFIG``, else ``~/.config/trainwatt.toml``, else ``/etc/trainwatt.toml``.

    Args:
        environ: the environment variables.
        root: folder that contains ``etc``.

    Raises:
        ArgumentError: if the file cannot be read or is not TOML, a key is unknown, or a value has the wrong type. The
            message names the file, the key, the given value and the expected one.
    """
    path, text = _text(environ, root)
    if path is None:
        return {}
    return {key: _setting(path, key, value) for key, value in _parsed(path, text).items()}


def folders(environ: Mapping[str, str], root: Path = Path("/")) -> tuple[Path, ...]:
    """Return the folders of configuration files: that of the file named by ``TRAINWATT_CONFIG``, else two usual ones.

    Args:
        environ: the environment variables.
        root: folder that contains ``etc``.
    """
    if named := environ.get(_FILE):
        return (Path(named).expanduser().parent,)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return (*([Path(home) / ".config"] if home else []), root / "etc")


def _text(environ: Mapping[str, str], root: Path) -> tuple[Path | None, str]:
    if named := environ.get(_FILE):
        path = Path(named).expanduser()
        try:
            return path, read_text(path, most_bytes=_MOST_BYTES)
        except (OSError, ValueError) as error:
            raise ArgumentError(_FILE, named, f"a readable TOML file; {_reason(error)}") from None
    for path in (folder / _NAME for folder in folders(environ, root)):
        # `Path.exists` raises if a parent folder is not accessible.
        if os.path.exists(path):  # noqa: PTH110
            return path, _read(path)
    return None, ""


def _read(path: Path) -> str:
    try:
        return read_text(path, most_bytes=_MOST_BYTES)
    except (OSError, ValueError) as error:
        raise ArgumentError(_NAME, str(path), f"a readable TOML file; {_reason(error)}") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    # Imported only if there is a file, because the import takes milliseconds.
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ArgumentError(_NAME, str(path), "a valid TOML file; it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(_NAME, str(path), f"a valid TOML file; {error}") from None


def _reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be read, without its name, which may be a secret in the wrong place."""
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    return str(error).rpartition(": ")[2]


def _setting(path: Path, key: str, value: Any) -> Setting:
    label = f"{path}: {key}"
    if key not in KEYS:
        raise ArgumentError(label, value, f"one of the keys {', '.join(sorted(KEYS))}")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key in WORDS and not isinstance(value, str):
        raise ArgumentError(label, value, "a string in quotes")
    if key in NUMBERS and not number:
        raise ArgumentError(label, value, "a number")
    if key in EITHER and not (number or isinstance(value, str)):
        raise ArgumentError(label, value, "a number of gCO2e/kWh, or the name of a live source")
    return Setting(value, label, f"given in {path}")


def _typed(key: str, text: str, variable: str) -> str | float:
    if key in WORDS:
        return text
    try:
        return float(text)
    except ValueError:
        if key in EITHER:
            return text
        raise ArgumentError(variable, text, "a number") from None
