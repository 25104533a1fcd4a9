"""What can be said of a page without a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A page that was read: its elements, its texts, and what is wrong with its nesting."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is left open" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len({name for name, _ in attrs}) < len(attrs):
            self.wrong.append(f"<{tag}> says something twice")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is to be read."""
        return " ".join(" ".join(self.texts).split())

    @property
    def charts(self) -> dict[str, dict[str, Any]]:
        """The specifications of the pictures, by name."""
        scripts = [attributes for tag, attributes in self.elements if tag == "script"]
        return {
            str(attributes["data-chart"]): json.loads(text)
            for attributes, text in zip(scripts, self.scripts, strict=True)
            if "data-chart" in attributes
        }

    @property
    def ids(self) -> list[str]:
        """All names of elements."""
        return [str(attributes["id"]) for _, attributes in self.elements if "id" in attributes]

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for each, attributes in self.elements if each == tag]


def loads(page: Page) -> list[str]:
    """Whatever a browser would fetch for the page."""
    named = [
        str(value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "srcset", "poster", "data", "action", "xlink:href"} or (name == "href" and tag != "a")
    ]
    return named + re.findall(r"@import[^;]*|url\([^)]*\)", " ".join(str(each) for each in page.elements))
