"""Pieces of a page: tables, figures and sections, with all that comes from outside escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        order: what it is sorted by; None: its text.
        more: smaller, under it.
    """

    text: str
    order: float | None = None
    more: str = ""

    def html(self) -> str:
        """What it shows."""
        return escape(self.text) + (f"<small>{escape(self.more)}</small>" if self.more else "")


Row = Sequence[str | Cell]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        caption: what it is; read out first.
        header: names of the columns; the first column holds the names of the rows.
        rows: texts, or cells that tell what they are sorted by.
        figures: the numbers of the columns that hold figures.
        sortable: whether its columns can be sorted by a click.
        total: whether the last row is the sum of the others.
        stacked: whether its cells stand under each other on a phone, each with the name of its column.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Row]
    figures: Iterable[int] = ()
    sortable: bool = False
    total: bool = False
    stacked: bool = False

    def html(self) -> str:
        """The table, in a box of its own that scrolls where it is too wide; on paper it does not."""
        figures = set(self.figures)
        head = "".join(self._head(name, figure=number in figures) for number, name in enumerate(self.header))
        last = len(self.rows) - 1 if self.total else None
        body = "".join(self._row(row, figures, total=number == last) for number, row in enumerate(self.rows))
        sortable = (" data-sortable" if self.sortable else "") + (' class="stacked"' if self.stacked else "")
        return (
            f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(self.caption)}">'
            f"<table{sortable}><caption>{escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def _head(self, name: str, *, figure: bool) -> str:
        shown = f'<button type="button">{escape(name)}</button>' if self.sortable else escape(name)
        return f'<th scope="col"{_class(figure)}>{shown}</th>'

    def _row(self, row: Row, figures: set[int], *, total: bool) -> str:
        cells = []
        for number, each in enumerate(row):
            cell = each if isinstance(each, Cell) else Cell(each)
            tag, scope = ("th", ' scope="row"') if number == 0 else ("td", "")
            order = "" if cell.order is None else f' data-order="{cell.order!r}"'
            name = f' data-name="{escape(self.header[number])}"' if self.stacked and number else ""
            cells.append(f"<{tag}{scope}{order}{name}{_class(number in figures)}>{cell.html()}</{tag}>")
        return f"<tr{' class=total' if total else ''}>{''.join(cells)}</tr>"


def _class(figure: bool) -> str:
    return ' class="figure"' if figure else ""


@dataclass(frozen=True)
class Chart:
    """A picture, and what it shows in words.

    Attributes:
        name: unique in its page.
        spec: Vega-Lite.
        says: what it shows, for those who do not see it.
        beneath: a line under it.
        height: of the picture, in pixels, as near as that is known before it is drawn.
    """

    name: str
    spec: Spec
    says: str
    beneath: str = ""
    height: int = 260

    def html(self) -> str:
        """The place of the picture, with its specification beside it."""
        beneath = f"<figcaption>{escape(self.beneath)}</figcaption>" if self.beneath else ""
        return (
            f'<figure><div class="chart" id="{self.name}" role="img" aria-label="{escape(self.says)}" '
            f'style="min-height:{self.height}px"></div>{beneath}</figure>'
            f'<script type="application/json" data-chart="{self.name}">{_json(self.spec)}</script>'
        )


def _json(spec: Spec) -> str:
    """JSON that no HTML parser ends early."""
    text = json.dumps(spec, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def section(name: str, title: str, *blocks: str, lead: str = "") -> str:
    """A part of the page under a heading; nothing where there is nothing in it.

    Args:
        name: unique in its page.
        title: the heading.
        blocks: HTML.
        lead: what it says, in a sentence or two.
    """
    if not any(blocks):
        return ""
    told = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return f'<section aria-labelledby="{name}-title">{heading}{told}{"".join(blocks)}</section>'


def folded(title: str, block: str) -> str:
    """What is shown when it is asked for, and on paper."""
    return f"<details><summary>{escape(title)}</summary>{block}</details>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; nothing without a text."""
    name = f' class="{kind}"' if kind else ""
    return f"<p{name}>{escape(text)}</p>" if text else ""


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """The figures that matter most: name, value, and what is to be known of it."""
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd><strong>{escape(value)}</strong><span>{escape(more)}</span></dd></div>"
        for name, value, more in figures
    )
    return f'<dl class="tiles">{shown}</dl>'
