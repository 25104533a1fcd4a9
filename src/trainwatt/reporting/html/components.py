"""HTML components of a page: tables, charts and sections."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainwatt.escaping.markup import Html, element, joined, raw_element, script_data

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

    def html(self) -> Html:
        """Render the content of the cell."""
        return joined([self.text, element("small", self.more) if self.more else ""])


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
        tall: True if the table has so many rows that they scroll vertically.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Row]
    figures: Iterable[int] = ()
    sortable: bool = False
    total: bool = False
    stacked: bool = False
    tall: bool = False

    def html(self) -> Html:
        """Render the table, in a box that scrolls horizontally on screen but not in print."""
        figures = set(self.figures)
        head = [self._head(name, figure=number in figures) for number, name in enumerate(self.header)]
        last = len(self.rows) - 1 if self.total else None
        body = [self._row(row, figures, total=number == last) for number, row in enumerate(self.rows)]
        table = element(
            "table",
            element("caption", self.caption),
            element("thead", element("tr", *head)),
            element("tbody", *body),
            data_sortable=self.sortable,
            class_="stacked" if self.stacked else None,
        )
        box = "scroll tall" if self.tall else "scroll"
        return element("div", table, class_=box, role="region", tabindex=0, aria_label=self.caption)

    def _head(self, name: str, *, figure: bool) -> Html:
        shown = element("button", name, type="button") if self.sortable else name
        return element("th", shown, scope="col", class_=_class(figure))

    def _row(self, row: Row, figures: set[int], *, total: bool) -> Html:
        cells = []
        for number, each in enumerate(row):
            cell = each if isinstance(each, Cell) else Cell(each)
            made = element(
                "td" if number else "th",
                cell.html(),
                scope=None if number else "row",
                data_order=None if cell.order is None else repr(float(cell.order)),
                data_name=self.header[number] if self.stacked and number else None,
                class_=_class(number in figures),
            )
            cells.append(made)
        return element("tr", *cells, class_="total" if total else None)


def _class(figure: bool) -> str | None:
    return "figure" if figure else None


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

    def html(self) -> Html:
        """Render the placeholder of the chart, followed by its specification."""
        place = element(
            "div",
            id=self.name,
            class_="chart",
            role="img",
            aria_label=self.description,
            # The page's script reserves the space: a style of an element is not allowed by the page's policy.
            data_height=self.height,
        )
        caption = element("figcaption", self.caption) if self.caption else ""
        data = script_data(json.dumps(self.spec, separators=(",", ":"), allow_nan=False))
        return joined(
            [
                element("figure", place, caption),
                raw_element("script", data, type="application/json", data_chart=self.name),
            ]
        )


def section(name: str, title: str, *blocks: Html, lead: str = "") -> Html:
    """Render a section with a heading, or an empty string if all blocks are empty.

    Args:
        name: unique id in the page.
        title: the heading.
        blocks: HTML.
        lead: one or two sentences below the heading.
    """
    if not any(blocks):
        return Html()
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, paragraph(lead, "lead"), *blocks, aria_labelledby=f"{name}-title")


def folded(title: str, block: Html) -> Html:
    """Render a block that is collapsed until the user opens it."""
    return element("details", element("summary", title), block)


def paragraph(text: str, kind: str = "") -> Html:
    """Render a paragraph, or an empty string if the text is empty."""
    return element("p", text, class_=kind or None) if text else Html()


def tiles(figures: Iterable[tuple[str, str, str]]) -> Html:
    """Render the key figures: name, value and a note for each."""
    shown = (
        element("div", element("dt", name), element("dd", element("strong", value), element("span", more)))
        for name, value, more in figures
    )
    return element("dl", *shown, class_="tiles")
