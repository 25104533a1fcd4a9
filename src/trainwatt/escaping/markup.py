"""HTML that is built of elements: every text in it is escaped, in attributes too.

>>> element("p", "<script>", title='"x"')
Html('<p title="&quot;x&quot;">&lt;script&gt;</p>')
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")
# Elements without content.
_VOID = frozenset({"br", "hr", "img", "meta", "link"})
# Their content is no HTML, in which escapes would not be resolved.
_RAW = frozenset({"script", "style"})
# Controls other than tab and line feeds, which no HTML may hold, even escaped.
_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0), 0xFFFE, 0xFFFF], "\ufffd")

Attribute = str | int | float | bool | None


class Html(str):
    """Text in which all markup is ours. Formatted or added to other text, it is a plain text, and escaped again."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Html({super().__repr__()})"


def element(name: str, /, *content: str, **attributes: Attribute) -> Html:
    """Return an element.

    Args:
        name: of the element.
        content: HTML is taken as it is, any other text is escaped.
        attributes: by name; underscores stand for dashes, and one at the end is left out (``class_``). True gives an
            attribute without a value; None and False leave it out.

    Raises:
        ValueError: if a name is none, or a script or style is asked for.
    """
    if not _NAME.match(name) or name in _RAW:
        raise ValueError(f"{name!r} is no name of an element that may be made here")
    begin = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(begin) if name in _VOID else Html(f"{begin}{joined(content)}</{name}>")


def raw_element(name: str, content: str, /, **attributes: Attribute) -> Html:
    """Return a script or style with our own content.

    Args:
        name: ``script`` or ``style``.
        content: code of ours, or data in which :func:`trainwatt.escaping.markup.script_data` has replaced all markup.
        attributes: as of :func:`element`.

    Raises:
        ValueError: if the content would end the element.
    """
    if name not in _RAW or f"</{name}" in content.lower() or "<!--" in content:
        raise ValueError(f"the content of this {name!r} would end it, or it is no script or style")
    return Html(f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>{content}</{name}>")


def script_data(json_text: str) -> str:
    """Return JSON in which an HTML parser finds no markup."""
    return json_text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def joined(parts: Iterable[str], between: Html | None = None) -> Html:
    """Return parts one after the other; HTML is taken as it is, any other text is escaped."""
    return Html((between or "").join(each if isinstance(each, Html) else text(each) for each in parts))


def text(content: str) -> Html:
    """Return a text as HTML."""
    return Html(escape(content.translate(_CONTROLS)))


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if not _NAME.match(name) or name.startswith("on"):
        raise ValueError(f"{name!r} is no attribute that may be made here")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'
