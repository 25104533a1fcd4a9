"""HTML views of runs for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from trainwatt.records.summary_view import SummaryView, Table

_NUMBER = ' style="text-align:right;font-variant-numeric:tabular-nums"'
_TEXT = ' style="text-align:left"'


def summary_html(shown: SummaryView) -> str:
    """Render a run's summary; colours and fonts come from the surrounding page."""
    blocks = [f"<p><strong>{escape(shown.headline)}</strong></p>", *map(table_html, shown.tables)]
    if shown.meaning:
        blocks.append(f"<p>{'<br>'.join(map(escape, shown.meaning))}</p>")
    if shown.factors:
        factors = "".join(f"<li>{escape(factor)}</li>" for factor in shown.factors)
        blocks.append(f"<details><summary>factors, with their sources</summary><ul>{factors}</ul></details>")
    if shown.folder:
        blocks.append(f"<p>run folder: <code>{escape(shown.folder)}</code></p>")
    return f'<div class="trainwatt">{"".join(blocks)}</div>'


def table_html(table: Table) -> str:
    """Render a table; columns are aligned as described in :class:`Table`."""
    head = "".join(_cells(table.header, "th", ' scope="col"'))
    last = len(table.rows) - 1 if table.summed else None
    rows = "".join(f"<tr>{''.join(_row(row, bold=number == last))}</tr>" for number, row in enumerate(table.rows))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(row: Iterable[str], *, bold: bool) -> Iterable[str]:
    return _cells(row, "th" if bold else "td")


def _cells(row: Iterable[str], tag: str, more: str = "") -> Iterable[str]:
    cells = list(row)
    for number, cell in enumerate(cells):
        style = _TEXT if number in (0, len(cells) - 1) else _NUMBER
        yield f"<{tag}{more}{style}>{escape(cell)}</{tag}>"
