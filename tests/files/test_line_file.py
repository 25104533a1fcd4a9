from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from trainwatt.files.line_file import LineFile, TakenError, append_lines


def lost(count: int) -> bytes:
    return b"lost %d\n" % count


def begun(path: Path, count: int = 3) -> LineFile:
    lines = LineFile(lost)
    lines.add(b"begin\n", pinned=True)
    for number in range(count):
        lines.add(b"%d\n" % number)
    lines.write(path)
    return lines


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = begun(path)
    lines.add(b"more\n")
    lines.write(path)
    lines.write(path)
    assert path.read_bytes() == b"begin\n0\n1\n2\nmore\n"
    assert lines.is_complete


def test_no_file_is_made_for_no_lines(tmp_path: Path) -> None:
    LineFile(lost).write(tmp_path / "lines")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 6, 9])
def test_a_file_that_is_cut_is_made_again_with_all_lines(size: int, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = begun(path)
    os.truncate(path, size)
    lines.write(path)
    lines.add(b"more\n")
    lines.write(path)
    assert path.read_bytes() == b"begin\n0\n1\n2\nmore\n"


def test_a_file_that_is_gone_is_made_again_with_all_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = begun(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        lines.write(path)
    lines.forget_file()
    lines.write(path)
    lines.add(b"more\n")
    lines.write(path)
    assert path.read_bytes() == b"begin\n0\n1\n2\nmore\n"


def test_a_line_that_somebody_has_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = begun(path)
    with path.open("ab") as file:
        file.write(b"half a li")
    lines.add(b"more\n")
    lines.write(path)
    assert path.read_bytes() == b"begin\n0\n1\n2\nhalf a li\nmore\n"


def plant_link(path: Path) -> None:
    path.symlink_to("victim")


def plant_pipe(path: Path) -> None:
    os.mkfifo(path)


def plant_folder(path: Path) -> None:
    path.mkdir()


def plant_file(path: Path) -> None:
    path.write_bytes(b"another's, which is longer than ours\n")


@pytest.mark.parametrize("plant", [plant_link, plant_pipe, plant_folder, plant_file])
@pytest.mark.parametrize("before", [True, False])
def test_what_is_planted_in_its_place_is_neither_followed_nor_written(
    plant: object, before: bool, tmp_path: Path
) -> None:
    path, victim = tmp_path / "lines", tmp_path / "victim"
    victim.write_bytes(b"theirs\n")
    lines = LineFile(lost) if before else begun(path)
    path.unlink(missing_ok=True)
    plant(path)  # type: ignore[operator]
    planted = path.read_bytes() if path.is_file() else None
    lines.add(b"more\n")
    with pytest.raises(TakenError):
        lines.write(path)
    assert not lines.is_complete
    assert victim.read_bytes() == b"theirs\n"
    assert (path.read_bytes() if path.is_file() else None) == planted
    lines.forget_file()
    lines.write(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == (b"more\n" if before else b"begin\n0\n1\n2\nmore\n")


def test_a_file_in_place_of_the_folder_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lines = begun(tmp_path / "run" / "lines")
    (tmp_path / "run" / "lines").unlink()
    (tmp_path / "run").rmdir()
    (tmp_path / "run").touch()
    with pytest.raises(TakenError):
        lines.write(tmp_path / "run" / "lines")


def test_of_lines_that_wait_the_oldest_go_and_their_number_is_said(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = LineFile(lost)
    lines.add(b"begin\n", pinned=True)
    for number in range(10_050):
        lines.add(b"%d\n" % number)
    lines.write(path)
    written = path.read_bytes().splitlines()
    assert written[:3] == [b"begin", b"lost 51", b"51"]
    assert written[-1] == b"10049"
    path.unlink()
    lines.forget_file()
    lines.write(path)
    assert path.read_bytes().splitlines() == written


def test_of_written_lines_a_bounded_part_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = begun(path, count=0)
    for number in range(600):
        lines.add(b"%d %s\n" % (number, b"x" * 10_000))
        lines.write(path)
    assert len(path.read_bytes().splitlines()) == 601
    path.unlink()
    lines.forget_file()
    lines.write(path)
    written = path.read_bytes().splitlines()
    assert written[0] == b"begin"
    missing = int(written[1].split()[1])
    assert 0 < missing < 600
    assert [int(line.split()[0]) for line in written[2:]] == list(range(missing, 600))


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    """The limit of a file's size acts as a disk that is full in the middle of a write."""
    path = tmp_path / "lines"
    lines = begun(path)
    size = path.stat().st_size
    lines.add(b"x" * 100 + b"\n")
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            lines.write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.stat().st_size == size
    lines.write(path)
    assert path.read_bytes() == b"begin\n0\n1\n2\n" + b"x" * 100 + b"\n"


def test_lines_are_appended_to_a_file_of_several_writers(tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    append_lines(path, b"a\n")
    with path.open("ab") as file:
        file.write(b"no newline")
    append_lines(path, b"b\n")
    assert path.read_bytes() == b"a\nno newline\nb\n"
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="link is a link: expected the file that it leads to"):
        append_lines(tmp_path / "link", b"c\n")
    assert path.read_bytes() == b"a\nno newline\nb\n"
