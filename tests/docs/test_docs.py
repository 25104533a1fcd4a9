"""Documentation pages, checked against the code and the benchmarks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainwatt.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = {page.stem: page.read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", TEXTS[page.stem], flags=re.DOTALL):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one(page: Path) -> None:
    known = {module.__name__.rpartition(".")[2] for module in COMMANDS}
    shells = "".join(re.findall(r"```bash\n(.*?)```", TEXTS[page.stem], flags=re.DOTALL))
    named = re.findall(r"^(?:srun )?trainwatt (\w+)", shells, flags=re.MULTILINE)
    assert set(named) <= known


def test_every_command_has_its_line() -> None:
    named = set(re.findall(r"^\| `(\w+)", TEXTS["cli"], re.MULTILINE))
    assert {module.__name__.rpartition(".")[2] for module in COMMANDS} <= named


def test_every_figure_of_others_is_in_the_benchmarks() -> None:
    figures = [line for line in TEXTS["comparing"].splitlines() if re.search(r"\| [-+]?\d+\.\d\d \|", line)]
    measured = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert len(figures) == 11
    for line in figures:
        assert line in measured


def test_parts_of_the_readme_are_where_the_pages_look_for_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    marks = [mark for text in TEXTS.values() for mark in re.findall(r':(?:start-after|end-before): "(.*)"', text)]
    assert marks
    for mark in marks:
        assert readme.count(f"\n{mark}") == 1, mark
