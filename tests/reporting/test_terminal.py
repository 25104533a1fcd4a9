"""What a person sees at the end of a run, in a real terminal and elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.terminal import typed

SCRIPT = "import trainwatt\nwith trainwatt.measure(zone='FR', run_name='run', verbose={verbose}): sum(range(10**5))"


LOUD = SCRIPT.format(verbose=True)


def printed(folder: Path, script: str = SCRIPT, *, verbose: bool = True, **variables: str) -> str:
    """What a program prints to a pipe."""
    command = [sys.executable, "-c", script.format(verbose=verbose)]
    run = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, check=True, encoding="utf-8"
    )
    return run.stdout


def test_a_terminal_shows_the_table_with_rich(tmp_path: Path) -> None:
    text = typed(LOUD, tmp_path)
    assert "\x1b[1m" in text
    for told in ("trainwatt: run finished after", "all of it", "other", "total", "100.0%", "CO2e", "factors:"):
        assert told in text
    assert "run folder: footprint/run" in text


def test_a_terminal_without_colours_has_none(tmp_path: Path) -> None:
    text = typed(LOUD, tmp_path, TERM="dumb")
    assert "\x1b[3" not in text
    assert "trainwatt: run finished" in text


def test_without_a_terminal_the_table_is_plain(tmp_path: Path) -> None:
    text = printed(tmp_path)
    assert text.isascii()
    assert "\nphase" in text
    assert "-----" in text
    assert "run folder: footprint/run" in text


NOTEBOOK = """
import sys, types
shown = []
kernel = types.SimpleNamespace(kernel=object())
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: kernel)
sys.modules["IPython.display"] = types.SimpleNamespace(display=shown.append)
"""


def test_a_notebook_shows_a_table(tmp_path: Path) -> None:
    """As much of IPython as is used: in a kernel, with the display that a cell's output has."""
    text = printed(tmp_path, NOTEBOOK + SCRIPT + "\nprint(shown[0]._repr_html_(), repr(shown[0]))")
    assert text.startswith('<div class="trainwatt">')
    assert text.count("<table>") == 2
    assert text.count("trainwatt: run finished") == 2


def test_in_ci_it_is_one_line(tmp_path: Path) -> None:
    for text in (printed(tmp_path, CI="true"), typed(LOUD, tmp_path, CI="1")):
        (line,) = text.splitlines()
        assert "\x1b" not in line
        assert line.startswith("trainwatt: run")
        assert "CO2e" in line
        assert "run folder: footprint/run" in line


@pytest.mark.parametrize("ci", ["", "false", "0"])
def test_a_ci_that_says_no_is_none(ci: str, tmp_path: Path) -> None:
    assert "\nphase" in printed(tmp_path, CI=ci)


def test_only_the_first_process_prints(tmp_path: Path) -> None:
    assert printed(tmp_path, RANK="1", WORLD_SIZE="2") == ""
    assert "trainwatt: run" in printed(tmp_path, RANK="0", WORLD_SIZE="2")


def test_a_quiet_run_prints_nothing(tmp_path: Path) -> None:
    assert printed(tmp_path, verbose=False) == ""


def test_a_terminal_that_cannot_print_it_ends_nothing(tmp_path: Path) -> None:
    script = SCRIPT.replace("run_name='run'", "run_name='lauf-ä'") + "\nopen('after', 'w').close()"
    printed(tmp_path, script, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert (tmp_path / "after").exists()
    assert (tmp_path / "footprint/lauf-ä/summary.json").exists()


PARTS = """
import trainwatt
with trainwatt.measure(zone='FR', run_name='run') as run, run.phase('train'):
    for name in ['[/bold] augment', *map(str, range(20))]:
        with run.part(name):
            sum(range(10**5))
"""


def test_parts_of_ones_own_have_a_row_below_their_phase(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    plain, coloured = printed(tmp_path, PARTS), typed(PARTS, tmp_path)
    for text in (plain, coloured):
        assert text.count("train: ") == 6
        assert "train: 16 more parts" in text
    named = "import trainwatt\nwith trainwatt.measure(zone='FR') as run, run.part('[/bold] augment'): sum(range(10**5))"
    assert "other: [/bold] augment" in typed(named, tmp_path)
