"""Output of the summary at the end of a run, to a terminal, a notebook or a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

from trainwatt.records.notebook_view import summary_html
from trainwatt.records.summary_view import SummaryView, Table
from trainwatt.reporting.console import is_terminal, write, write_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table as RichTable

_OFF = ("", "0", "false")


class _Html:
    """Summary in the forms that a notebook can display."""

    def __init__(self, shown: SummaryView) -> None:
        self._shown = shown

    def _repr_html_(self) -> str:
        return summary_html(self._shown)

    def __repr__(self) -> str:
        return self._shown.text()


def show(shown: SummaryView, file: TextIO | None = None) -> None:
    """Show the summary of a run in the best form that the output supports.

    A notebook gets HTML, and a terminal gets colours if rich is installed. If the environment variable ``CI`` is set,
    one line is printed. Otherwise the summary is plain text. In a distributed run only rank 0 prints. An output that
    cannot be written to costs the output only.

    Args:
        shown: the summary.
        file: to write to; None for standard output.
    """
    if not _is_rank_zero(os.environ):
        return
    file = file or sys.stdout
    if file is None:
        return
    if _in_notebook():
        display: Any = import_module("IPython.display").display
        display(_Html(shown))
    elif in_ci(os.environ):
        write_line(shown.line(), file)
    elif is_terminal(file) and find_spec("rich"):
        _print_rich(shown, file)
    else:
        write_line("\n" + shown.text(), file)


def in_ci(environ: Mapping[str, str]) -> bool:
    """Return True in a CI system; all of them set ``CI``."""
    return environ.get("CI", "").lower() not in _OFF


def rich_of(shown: SummaryView) -> list[RenderableType]:
    """Convert a summary to blocks for rich."""
    from rich.text import Text  # noqa: PLC0415

    head, _, rest = shown.headline.partition(", ")
    blocks: list[RenderableType] = [Text.assemble((head, "bold"), ", " if rest else "", rest)]
    blocks += [_rich_table(table) for table in shown.tables]
    if shown.meaning:
        first, *others = shown.meaning
        blocks.append(Text.assemble((first, "bold"), *(f"\n{line}" for line in others)))
    if shown.factors:
        blocks.append(Text("\n".join(["factors:", *(f"  {factor}" for factor in shown.factors)]), style="dim"))
    if shown.folder:
        # A path that is broken cannot be copied.
        blocks.append(Text(f"run folder: {shown.folder}", no_wrap=True))
    return blocks


def _print_rich(shown: SummaryView, file: TextIO) -> None:
    # Deferred: rich is optional.
    from rich.console import Console  # noqa: PLC0415

    console = Console(file=file)
    # Old consoles of Windows take colours as calls, not as text.
    if console.legacy_windows:
        _print_blocks(shown, console)
        return
    with console.capture() as capture:
        _print_blocks(shown, console)
    write(capture.get(), file)


def _print_blocks(shown: SummaryView, console: Console) -> None:
    for block in rich_of(shown):
        console.print()
        console.print(block, soft_wrap=getattr(block, "no_wrap", None) is True, highlight=False)


def _rich_table(table: Table) -> RichTable:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415

    made = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    last = len(table.header) - 1
    for number, name in enumerate(table.header):
        text = number in (0, last)
        made.add_column(name, justify="left" if text else "right", no_wrap=not text)
    for row in table.rows[: -1 if table.summed else None]:
        made.add_row(*map(escape, row))
    if table.summed:
        made.add_section()
        made.add_row(*map(escape, table.rows[-1]), style="bold")
    return made


def _is_rank_zero(environ: Mapping[str, str]) -> bool:
    """Return True on rank 0, by the variables that torchrun sets.

    The variables of a scheduler are ignored, because they would also silence independent runs in one job.
    """
    return environ.get("WORLD_SIZE", "1") in ("", "0", "1") or environ.get("RANK", "0") in ("", "0")


def _in_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
