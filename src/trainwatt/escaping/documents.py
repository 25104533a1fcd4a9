"""Text from outside in documents: Markdown, LaTeX, CSV and YAML."""

from __future__ import annotations

import json
import re

from trainwatt.escaping.printable import printable

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{each: "\\" + each for each in "&%$#_"},
}
# Punctuation that begins an emphasis, code, a link, an image, HTML, a cell of a table, a formula or strikethrough.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$]|!(?=\[)|&(?=[#\w]))")
# An address, which becomes a link by itself, and a mention of a person.
_LINK = re.compile(r"(?i)(https?|ftp)(:)(?=//)|(\bwww)(\.)|(?<!\w)(@)(?=\w)")
# Begins of a formula in a spreadsheet, also after a tab or a carriage return.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def markdown(text: str) -> str:
    """Return a text as Markdown that is shown as it is, on one line."""
    escaped = _MARKDOWN.sub(r"\\\1", printable(text))
    return _LINK.sub(lambda found: "".join(f"&#{ord(each)};" if each in ":.@" else each for each in found[0]), escaped)


def latex(text: str) -> str:
    """Return a text as LaTeX that is shown as it is, on one line."""
    return "".join(_LATEX.get(each, each) for each in printable(text))


def csv_cell(text: str) -> str:
    """Return a text that a spreadsheet takes for a text, and not for a formula."""
    shown = printable(text)
    return f"'{shown}" if text.lstrip(" ").startswith(_FORMULA) else shown


def yaml_text(text: str) -> str:
    """Return a text as a YAML scalar in double quotes."""
    return json.dumps("".join(each if each.isprintable() else " " for each in text), ensure_ascii=False)
