"""Text for terminals, logs and documents, in which nothing acts: control characters are shown, not executed."""

from __future__ import annotations

import unicodedata

# Joiners within words and emoji.
_HARMLESS = "\u200c\u200d\u00ad"
# Controls, formats such as those that reverse the direction, halves of pairs, line and paragraph separators.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text in which each character that acts on a terminal is replaced by its code.

    >>> printable("run\x1b[2J")
    'run\\x1b[2J'

    Args:
        text: any text.
        lines: keep line feeds and tabs; without it the text is one line.
    """
    if text.isprintable():
        return text
    kept = f"{_HARMLESS}\n\t" if lines else _HARMLESS
    return "".join(each if each in kept or _is_harmless(each) else _code(each) for each in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) not in _ACTING


def _code(character: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or _number(ord(character))


def _number(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
