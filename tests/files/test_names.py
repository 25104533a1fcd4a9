from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainwatt.files.names import fault_of, fault_of_path, shortened


@pytest.mark.parametrize("name", ["a", "a.b", "-rf", "~", " a", "x" * 255, "CON", "a:b", "a.", "\u00e9" * 127])
def test_a_name_that_any_unix_takes(name: str, tmp_path: Path) -> None:
    assert fault_of(name, on_windows=False) == ""
    (tmp_path / name).touch()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0", "\n", "\x1b[2J", "\x7f", "x" * 256, "\u00e9" * 128])
def test_a_name_that_is_refused_everywhere(name: str) -> None:
    assert fault_of(name, on_windows=False)
    assert fault_of(name, on_windows=True)


@pytest.mark.parametrize(
    "name", ["CON", "nul", "Com1", "LPT9.txt", "aux.tar.gz", "con .txt", "a:b", "a\\b", "a?", "a*", '"', "a.", "a "]
)
def test_a_name_that_windows_reserves(name: str) -> None:
    assert "Windows" in fault_of(name, on_windows=True)


@pytest.mark.parametrize("name", ["console", "com0", "COM10", "nul-1", "a.b"])
def test_a_name_that_only_looks_reserved(name: str) -> None:
    assert fault_of(name, on_windows=True) == ""


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/a/b", ""),
        ("a/../b", ""),
        (".", ""),
        ("/", ""),
        ("a/" + "x" * 256 + "/b", "256 bytes"),
        ("a/b\0", "control character"),
    ],
)
def test_of_a_path_every_name_is_looked_at(path: str, fault: str) -> None:
    assert fault in fault_of_path(Path(path))
    assert bool(fault) == bool(fault_of_path(Path(path)))


@pytest.mark.parametrize("name", ["run", "x" * 255, "\u00e9" * 127 + "x"])
def test_a_suffix_always_finds_room(name: str, tmp_path: Path) -> None:
    made = shortened(name, "-12")
    assert made.endswith("-12")
    assert len(os.fsencode(made)) <= 255
    assert name.startswith(made.removesuffix("-12"))
    (tmp_path / made).touch()
