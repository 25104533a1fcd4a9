"""What a machine or a cluster says of its place: environment variables, and one small TOML file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.site.layers import Layer, Setting

WORDS = ("zone", "cloud", "electricitymaps_token")
NUMBERS = ("pue", "wue", "tariff", "market_intensity")
EITHER = ("carbon_intensity",)
KEYS = WORDS + NUMBERS + EITHER

_PREFIX = "TRAINWATT_"
_FILE = _PREFIX + "CONFIG"
_NAME = "trainwatt.toml"


def from_environment(environ: Mapping[str, str]) -> Layer:
    """``TRAINWATT_ZONE``, ``TRAINWATT_PUE`` and so on; one that is empty says nothing.

    Raises:
        ArgumentError: one that should be a number is not.
    """
    given = {key: (_PREFIX + key.upper(), environ.get(_PREFIX + key.upper(), "").strip()) for key in KEYS}
    return {
        key: Setting(_typed(key, text, variable), variable, f"given by {variable}")
        for key, (variable, text) in given.items()
        if text
    }


def from_file(environ: Mapping[str, str], root: Path = Path("/")) -> Layer:
    """The file that ``TRAINWATT_CONFIG`` names, else ``~/.config/trainwatt.toml``, else ``/etc/trainwatt.toml``.

    Args:
        environ: the environment's variables.
        root: where ``etc`` is looked for.

    Raises:
        ArgumentError: a file that cannot be read or is no TOML, a key that is not known, a value of the wrong type;
            names the file, the key, what was given and what would be right.
    """
    path, text = _text(environ, root)
    if path is None:
        return {}
    return {key: _said(path, key, value) for key, value in _parsed(path, text).items()}


def _text(environ: Mapping[str, str], root: Path) -> tuple[Path | None, str]:
    if named := environ.get(_FILE):
        path = Path(named).expanduser()
        try:
            return path, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(_FILE, named, f"a TOML file that can be read; {error}") from None
    home = environ.get("HOME") or environ.get("USERPROFILE")
    for path in (*([Path(home) / ".config" / _NAME] if home else []), root / "etc" / _NAME):
        if os.path.exists(path):  # noqa: PTH110  # Path's raises where a folder on the way is closed to us
            return path, _read(path)
    return None, ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(_NAME, str(path), f"a TOML file that can be read; {error}") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):  # only where there is a file: an import costs milliseconds
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(_NAME, str(path), f"a file in TOML; {error}") from None


def _said(path: Path, key: str, value: Any) -> Setting:
    label = f"{path}: {key}"
    if key not in KEYS:
        raise ArgumentError(label, value, f"a key among {', '.join(sorted(KEYS))}")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key in WORDS and not isinstance(value, str):
        raise ArgumentError(label, value, "a text in quotes")
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
