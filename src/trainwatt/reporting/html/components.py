"""HTML components of a page: tables, charts and sections. They escape all text passed to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """Cell of a table.

    Attributes:
        text: the content.
        order: sort key; None to sort by the text.
        more: smaller text below.
    """

    text: str
    order: float | None = None
    more: str = ""

    def html(self) -> str:
        """Render the content of the cell."""
        return escape(self.text) + (f"<small>{escape(self.more)}</small>" if self.more else "")


Row = Sequence[str | Cell]


@dataclass(frozen=True)
class Grid:
    """Table.

    Attributes:
        caption: title of the table; screen readers read it first.
        header: names of the columns; the first column holds the names of the rows.
        rows: texts, or cells with a sort key.
        figures: indices of the numeric columns.
        sortable: True if a click on a column header sorts the rows.
        total: True if the last row is the sum of the others.
        stacked: True to stack the cells of a row on narrow screens, each labelled with its column.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Row]
    figures: Iterable[int] = ()
    sortable: bool = False
    total: bool = False
    stacked: bool = False

    def html(self) -> str:
        """Render the table, in a box that scrolls horizontally on screen but not in print."""
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
    """Chart with a text alternative.

    Attributes:
        name: unique id in the page.
        spec: Vega-Lite specification.
        description: text alternative for screen readers.
        caption: line below the chart.
        height: in pixels, approximately; reserves the space before the chart is drawn.
    """

    name: str
    spec: Spec
    description: str
    caption: str = ""
    height: int = 260

    def html(self) -> str:
        """Render the placeholder of the chart, followed by its specification."""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return (
            f'<figure><div class="chart" id="{self.name}" role="img" aria-label="{escape(self.description)}" '
            f'style="min-height:{self.height}px"></div>{caption}</figure>'
            f'<script type="application/json" data-chart="{self.name}">{_json(self.spec)}</script>'
        )


def _json(spec: Spec) -> str:
    """Serialize to JSON in which an HTML parser finds no tags."""
    text = json.dumps(spec, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def section(name: str, title: str, *blocks: str, lead: str = "") -> str:
    """Render a section with a heading, or an empty string if all blocks are empty.

    Args:
        name: unique id in the page.
        title: the heading.
        blocks: HTML.
        lead: one or two sentences below the heading.
    """
    if not any(blocks):
        return ""
    intro = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return f'<section aria-labelledby="{name}-title">{heading}{intro}{"".join(blocks)}</section>'


def folded(title: str, block: str) -> str:
    """Render a block that is collapsed until the user opens it."""
    return f"<details><summary>{escape(title)}</summary>{block}</details>"


def paragraph(text: str, kind: str = "") -> str:
    """Render a paragraph, or an empty string if the text is empty."""
    name = f' class="{kind}"' if kind else ""
    return f"<p{name}>{escape(text)}</p>" if text else ""


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """Render the key figures: name, value and a note for each."""
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd><strong>{escape(value)}</strong><span>{escape(more)}</span></dd></div>"
        for name, value, more in figures
    )
    return f'<dl class="tiles">{shown}</dl>'
