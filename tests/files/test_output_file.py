from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trainwatt.files.output_file import ForeignFileError, replace, write_output


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def ours(head: bytes) -> bool:
    return head.startswith(b"ours")


def test_a_file_is_replaced_as_a_whole_and_nothing_stays_behind(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"long" * 1000, b"short"):
        replace(file, content, durable=True)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_no_link_is_followed_neither_in_place_of_the_file_nor_of_its_temporary_name(tmp_path: Path) -> None:
    victim, file = tmp_path / "victim", tmp_path / "summary.json"
    victim.write_text("theirs")
    # Names that were used before, and the process id, can be guessed.
    for name in ("summary.json", "summary.json.new", ".summary.json.new", f"summary.json.{os.getpid()}"):
        (tmp_path / name).symlink_to(victim)
    replace(file, b"ours")
    assert victim.read_text() == "theirs"
    assert file.read_bytes() == b"ours"
    assert not file.is_symlink()


def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from trainwatt.files.output_file import replace;"
        "os.umask(0o027); [replace(Path(name), b'x') for name in sys.argv[1:]]"
    )
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    old.chmod(0o604)
    subprocess.run([sys.executable, "-c", code, str(old), str(new)], check=True)
    assert (mode(old), mode(new)) == (0o604, 0o640)


def test_many_threads_never_leave_a_mixture(tmp_path: Path) -> None:
    file = tmp_path / "file"
    contents = [str(number).encode() * (1000 + number) for number in range(8)]
    threads = [threading.Thread(target=lambda own=own: [replace(file, own) for _ in range(50)]) for own in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [file]


def test_a_name_of_full_length_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 255)
    replace(file, b"ours")
    assert file.read_bytes() == b"ours"


def test_a_folder_that_is_missing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace(tmp_path / "missing" / "file", b"ours")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [None, b"", b"ours before"])
def test_an_output_goes_where_nothing_of_others_is(before: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    if before is not None:
        file.write_bytes(before)
    write_output(file, "ours \u00e9", is_ours=ours)
    assert file.read_text(encoding="utf-8") == "ours \u00e9"


@pytest.mark.parametrize("before", [b"theirs", b" ours", bytes(range(256)) * 1000])
def test_a_file_of_others_is_replaced_only_by_force(before: bytes, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(before)
    with pytest.raises(ForeignFileError, match=r"page\.html exists and is not from trainwatt; .*--force"):
        write_output(file, "ours", is_ours=ours)
    assert file.read_bytes() == before
    write_output(file, "ours", is_ours=ours, force=True)
    assert file.read_bytes() == b"ours"


def test_a_link_to_a_file_of_others_or_to_nothing_is_theirs(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    for number, target in enumerate(("theirs", "nothing", ".")):
        link = tmp_path / f"link-{number}"
        link.symlink_to(target)
        with pytest.raises(ForeignFileError):
            write_output(link, "ours", is_ours=ours)
        assert link.is_symlink()
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_output(tmp_path, "ours", is_ours=ours, force=False)


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    write_output(Path("/dev/null"), "ours", is_ours=ours)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    code = (
        "from pathlib import Path; from trainwatt.files.output_file import write_output;"
        "write_output(Path('/dev/stdout'), 'ours', is_ours=bool)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, cwd=tmp_path)
    assert found.stdout == b"ours"
