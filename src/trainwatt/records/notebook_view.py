"""HTML views of runs for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trainwatt.escaping.markup import Html, element, joined
from trainwatt.records.summary_view import SummaryView, Table

_NUMBER = "text-align:right;font-variant-numeric:tabular-nums"
_TEXT = "text-align:left"


def summary_html(shown: SummaryView) -> Html:
    """Render a run's summary; colours and fonts come from the surrounding page."""
    blocks = [element("p", element("strong", shown.headline)), *map(table_html, shown.tables)]
    if shown.meaning:
        blocks.append(element("p", joined(shown.meaning, element("br"))))
    if shown.factors:
        factors = element("ul", *(element("li", factor) for factor in shown.factors))
        blocks.append(element("details", element("summary", "factors, with their sources"), factors))
    if shown.folder:
        blocks.append(element("p", "run folder: ", element("code", shown.folder)))
    return element("div", *blocks, class_="trainwatt")


def table_html(table: Table) -> Html:
    """Render a table; columns are aligned as described in :class:`Table`."""
    head = element("tr", *_cells(table.header, "th", "col"))
    last = len(table.rows) - 1 if table.summed else None
    rows = (element("tr", *_cells(row, "th" if number == last else "td")) for number, row in enumerate(table.rows))
    return element("table", element("thead", head), element("tbody", *rows))


def _cells(row: Iterable[str], tag: str, scope: str | None = None) -> Iterator[Html]:
    cells = list(row)
    for number, cell in enumerate(cells):
        style = _TEXT if number in (0, len(cells) - 1) else _NUMBER
        yield element(tag, cell, scope=scope, style=style)
