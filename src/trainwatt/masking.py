"""Masking of what may be a secret in messages, warnings, logs and records.

A token that is given where another value belongs must not appear in a log that others read. Nobody can tell each secret
from a mistyped name, so a value is shown only if it looks like a word, a number, a path or the id of a device.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"

_HIDDEN = f"'{MASK}' (hidden, because it may be a secret)"
_LONGEST_SHOWN = 200
_MOST_ITEMS = 20
# A shorter one is part of many words.
_SHORTEST_SECRET = 4

# Variables, options, headers and fields of an address that hold secrets.
_SECRET_NAME = re.compile(r"token|passw|passphrase|secret|credential|auth|api[-_ ]?key|(?:^|[-_.])key$", re.IGNORECASE)

# What is shown of a value: words, numbers and short codes, such as europe-west9, H100 or 2026-11-23T09-30.
_SEPARATORS = re.compile(r"[^\w]|_")
_PARTS = (
    re.compile(r"\w{0,5}"),
    re.compile(r"\d{1,8}"),
    re.compile(r"(?:[^\W\d_]?[^\W\d_A-Z]{2,}){1,4}\d{0,2}"),
    re.compile(r"[A-Z]{1,20}\d{0,2}"),
)
_LONGEST_PART, _LONGEST_WORD = 24, 64
_NO_WORD = re.compile(r"[bcdfghjklmnpqrstvwxz]{7}", re.IGNORECASE)
# A serial number has several short parts of both letters and digits.
_MIXED = re.compile(r"(?=.*\d)(?=.*[^\W\d_])\w{4,5}")
_MOST_MIXED = 2
_DEVICE_ID = re.compile(r"(?:(?:MIG|GPU)-)+[0-9a-fA-F/-]+")
_PATH = re.compile(r"(?:~|\.{0,2}/|[A-Za-z]:[\\/])")

# What is hidden of a text that may hold anything.
_USER_INFO = re.compile(r"(\w+://)[^/\s'\"]*@")
_QUERY = re.compile(r"(?<=[?&;])([\w.\[\]-]+=)[^&;\s'\"<>]+")
_FIELD = re.compile(
    r"([\w-]*(?:token|passw|passphrase|secret|credential|authorization|api[-_]?key)[\w-]*['\"]?\s*[:=]\s*(?:b(?=['\"]))?)"
    r"(?:(['\"]).*?\2|(?:(?:Bearer|Basic)\s+)?[^\s'\",;)}]+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{4,}")
_KNOWN_PREFIX = re.compile(r"\b(?:em-|hf_|gh[a-z]_|github_pat_|glpat-|sk-|xox[a-z]-|AKIA|eyJ)[\w.-]{8,}")
_RANDOM = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[A-Za-z0-9]{16,}\b")


def shown(name: str, value: object) -> str:
    """Return the representation of a value for a message, without what may be a secret.

    Args:
        name: of the argument, variable or key that was set.
        value: what it was set to.
    """
    # The name of a key in a file follows the path of the file.
    last = (name.rsplit(maxsplit=1) or [""])[-1].replace("\\", "/").rpartition("/")[2]
    is_empty = value is None or isinstance(value, bool) or (isinstance(value, str) and not value)
    if not is_empty and _SECRET_NAME.search(last):
        return _HIDDEN
    return _shown(value, depth=3)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without secrets: credentials in addresses and headers, fields named so, and known kinds of tokens.

    Args:
        text: any text, such as that of an exception.
        secrets: known ones, which are replaced wherever they stand.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK).replace(repr(secret)[1:-1], MASK)
    text = _USER_INFO.sub(rf"\1{MASK}@", text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    text = _FIELD.sub(rf"\1{MASK}", text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    return _RANDOM.sub(MASK, _KNOWN_PREFIX.sub(MASK, text))


def plain(text: str) -> str:
    """Return a text of words, of which those that may be secrets are masked."""
    return re.sub(r"[^\s'\"=/]+", lambda word: word[0] if _is_plain(word[0]) else MASK, masked(text))


def hides(name: str, value: object) -> bool:
    """Return True if :func:`shown` hides a text, or a part of it."""
    return isinstance(value, str) and MASK in shown(name, value)


def _shown(value: object, depth: int) -> str:
    if isinstance(value, (str, bytes)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if "://" in text:
            return _shortened(repr(plain(text)))
        return _shortened(masked(repr(value))) if _is_safe(text) else _HIDDEN
    if depth and isinstance(value, Mapping):
        items = list(value.items())[:_MOST_ITEMS]
        return "{" + ", ".join(f"{_shown(key, depth - 1)}: {shown(str(key), each)}" for key, each in items) + "}"
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        parts = ", ".join(_shown(each, depth - 1) for each in list(value)[:_MOST_ITEMS])
        return f"[{parts}]" if isinstance(value, list) else f"({parts})"
    return _shortened(masked(_repr(value)))


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # an object of the user's may raise anything
        return f"<{type(value).__name__}>"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN // 2]}...{text[-20:]}"


def _is_safe(text: str) -> bool:
    return bool(_PATH.match(text)) or all(_is_plain(word) for word in text.split())


def _is_plain(word: str) -> bool:
    """Return True if a word looks like one that somebody has typed, not like one that a computer has drawn."""
    if _DEVICE_ID.fullmatch(word):
        return True
    parts = _SEPARATORS.split(word)
    return (
        len(word) <= _LONGEST_WORD
        and all(_is_plain_part(part) for part in parts)
        and sum(bool(_MIXED.fullmatch(part)) for part in parts) <= _MOST_MIXED
    )


def _is_plain_part(part: str) -> bool:
    known = any(kind.fullmatch(part) for kind in _PARTS)
    return known and len(part) <= _LONGEST_PART and not _NO_WORD.search(part)
