from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trainwatt.records.run_folder import EVENTS, SUMMARY, RunFolder, read_events, read_summary, start_time_name


def written(folder: RunFolder, *events: dict[str, object]) -> Path:
    """Write events and return the folder, which must exist by now."""
    folder.queue(*events)
    folder.flush()
    assert folder.path is not None
    return folder.path


def begun(output_dir: Path, name: str = "run") -> tuple[RunFolder, Path]:
    folder = RunFolder(output_dir, name)
    folder.queue({"event": "start", "run": name, "of": os.urandom(8).hex()}, pinned=True)
    return folder, written(folder, {"number": 0})


def numbers(path: Path) -> list[int]:
    return [event["number"] for event in read_events(path) if "number" in event]


def content(path: Path) -> dict[str, object]:
    """Return a summary without what was added on writing."""
    summary = read_summary(path)
    return {name: value for name, value in summary.items() if name != "written"}


def test_events_can_be_read_back_in_order(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    for number in range(3):
        written(folder, {"number": number})
    assert numbers(tmp_path / "run") == [0, 1, 2]


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    _, path = begun(tmp_path)
    with (path / EVENTS).open("a") as file:
        file.write('{"number": 1, "jou')
    assert numbers(path) == [0]


def test_the_summary_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.summary({"total_j": 1.0, "padding": "x" * 10_000})
    folder.flush()
    folder.summary({"total_j": 2.0}, durable=True)
    assert content(tmp_path / "run") == {"total_j": 2.0}
    assert [path.name for path in (tmp_path / "run").iterdir()] == [SUMMARY]
    assert folder.is_complete


def test_a_summary_says_by_whom_and_when_it_was_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    stamps = []
    for sequence in range(3):
        folder.summary({"total_j": 1.0}, sequence)
        folder.flush()
        stamps.append(read_summary(tmp_path / "run")["written"])
        assert folder.stamp == {"written": stamps[-1]}
    assert [stamp["generation"] for stamp in stamps] == [1, 2, 3]
    assert {stamp["pid"] for stamp in stamps} == {os.getpid()}
    assert stamps[0]["monotonic_s"] <= stamps[1]["monotonic_s"] <= time.monotonic()


def test_an_older_summary_never_follows_a_newer_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    for sequence in (5, 3, 4):
        folder.summary({"sequence": sequence}, sequence)
        folder.flush()
    assert content(tmp_path / "run") == {"sequence": 5}


def test_nothing_follows_the_end_but_another_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.summary({"status": "finished"}, 5, durable=True)
    folder.summary({"status": "running"}, 9)
    folder.flush()
    assert content(tmp_path / "run") == {"status": "finished"}
    folder.summary({"status": "finished", "of": "the job"}, 5, durable=True)
    assert content(tmp_path / "run") == {"status": "finished", "of": "the job"}


def test_many_threads_leave_the_end(tmp_path: Path) -> None:
    for number in range(20):
        folder = RunFolder(tmp_path, f"run-{number}")
        threads = [
            threading.Thread(
                target=lambda own=own, folder=folder: [
                    folder.summary({"status": "running", "padding": "x" * 100 * own}, sequence)
                    for sequence in range(50)
                ]
            )
            for own in range(4)
        ]
        for thread in threads:
            thread.start()
        folder.summary({"status": "finished"}, 20, durable=True)
        for thread in threads:
            thread.join()
        folder.flush()
        assert content(tmp_path / f"run-{number}") == {"status": "finished"}
        assert [path.name for path in (tmp_path / f"run-{number}").iterdir()] == [SUMMARY]


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    folder, path = begun(tmp_path)
    folder.summary({"status": "running"}, 1)
    folder.flush()
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    child = os.fork()
    if child == 0:
        folder.queue({"number": 7})
        folder.write_queue()
        folder.summary({"status": "interrupted"}, 2, durable=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert {each.name: each.read_bytes() for each in path.iterdir()} == before


def test_a_second_run_of_the_same_name_gets_its_own_folder(tmp_path: Path) -> None:
    paths = [RunFolder(tmp_path / "deep" / "er", "run").path for _ in range(3)]
    assert [path and path.name for path in paths] == ["run", "run-2", "run-3"]


def test_a_second_run_of_the_longest_name_gets_its_own_folder(tmp_path: Path) -> None:
    paths = [RunFolder(tmp_path, "x" * 255).path for _ in range(2)]
    assert [path and path.name for path in paths] == ["x" * 255, "x" * 253 + "-2"]


@pytest.mark.parametrize("place", ["/proc/runs", "file", "file/runs", "deep/" * 2000, "x" * 255 + "/" + "y" * 3900])
def test_a_folder_that_cannot_be_made_is_told_once(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    folder = RunFolder(tmp_path / place, "run")
    for sequence in range(3):
        folder.queue({"number": sequence})
        folder.write_queue()
        folder.summary({"total_j": 2.0}, sequence, durable=sequence == 2)
    assert folder.path is None
    assert not folder.is_complete
    (record,) = caplog.records
    assert "cannot be written; measurement continues and writing is retried" in record.getMessage()


def test_what_was_kept_is_written_once_the_folder_can_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "share"
    place.touch()
    folder = RunFolder(place, "run")
    folder.queue({"event": "start"}, pinned=True)
    for number in range(100):
        folder.queue({"number": number})
        folder.write_queue()
        folder.summary({"total_j": number}, number)
    folder.flush()
    place.unlink()
    folder.flush()
    assert folder.path == place / "run"
    assert next(read_events(folder.path)) == {"event": "start"}
    assert numbers(folder.path) == list(range(100))
    assert content(folder.path) == {"total_j": 99}
    assert len(caplog.records) == 1


def delete(path: Path) -> None:
    shutil.rmtree(path)


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed"))


def empty(path: Path) -> None:
    for each in path.iterdir():
        each.unlink()


def delete_events(path: Path) -> None:
    (path / EVENTS).unlink()


def delete_parent(path: Path) -> None:
    shutil.rmtree(path.parent)


def make_anew_with_a_rank_in_it(path: Path) -> None:
    """Do what happens if another rank makes its folder again first."""
    shutil.rmtree(path)
    (path / "rank-1").mkdir(parents=True)


@pytest.mark.parametrize("lose", [delete, rename, empty, delete_events, delete_parent, make_anew_with_a_rank_in_it])
def test_a_folder_that_is_lost_is_made_again_whole(
    lose: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = begun(tmp_path / "footprint")
    folder.summary({"total_j": 0.5}, 0)
    folder.flush()
    lose(path)  # type: ignore[operator]
    written(folder, {"number": 1})
    folder.summary({"total_j": 1.0}, 1)
    assert written(folder, {"number": 2}) == path
    assert next(read_events(path))["event"] == "start"
    assert numbers(path) == [0, 1, 2]
    assert content(path) == {"total_j": 1.0}
    assert caplog.records == []


def put_file(path: Path) -> None:
    path.write_text("theirs")


def put_run(path: Path) -> None:
    _, made = begun(path.parent, path.name)
    assert made == path
    (path / SUMMARY).write_text("theirs")


def put_link(path: Path) -> None:
    other = path.with_name("other")
    other.mkdir()
    (other / SUMMARY).write_text("theirs")
    path.symlink_to(other)


def put_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("put", [put_file, put_run, put_link, put_dangling_link])
def test_what_has_taken_its_place_is_not_touched(put: object, tmp_path: Path) -> None:
    folder, path = begun(tmp_path)
    rename(path)
    put(path)  # type: ignore[operator]
    before = [(each, each.read_bytes()) for each in all_files(tmp_path)]
    folder.summary({"total_j": 1.0}, 1)
    assert written(folder, {"number": 1}) == tmp_path / "run-2"
    assert numbers(tmp_path / "run-2") == [0, 1]
    assert content(tmp_path / "run-2") == {"total_j": 1.0}
    assert [(each, each.read_bytes()) for each, _ in before] == before


def all_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("name", [EVENTS, SUMMARY])
def test_a_link_planted_in_the_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    folder, path = begun(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(victim)
    folder.summary({"total_j": 1.0}, 1)
    where = written(folder, {"number": 1})
    assert victim.read_text() == "theirs"
    assert numbers(where) == [0, 1]
    assert content(where) == {"total_j": 1.0}


def test_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_summary(tmp_path / "nothing")


def test_figures_of_any_kind_can_be_noted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    path = written(folder, {"tensor": np.float32(0.5), "other": Path("a"), "loss": float("nan")})
    folder.summary({"total_j": float("inf")}, durable=True)
    assert list(read_events(path)) == [{"tensor": 0.5, "other": "a", "loss": None, "problems": {"loss": "nan"}}]
    assert content(path) == {"total_j": None, "problems": {"total_j": "inf"}}


def test_what_is_queued_waits_for_the_next_writing_and_keeps_its_place(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.queue({"number": 0})
    assert not (tmp_path / "run" / EVENTS).exists()
    written(folder, {"number": 1})
    assert numbers(tmp_path / "run") == [0, 1]


def test_nothing_is_lost_where_one_thread_queues_and_another_writes(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    writer = threading.Thread(target=lambda: [folder.flush() for _ in range(200)])
    writer.start()
    for number in range(5000):
        folder.queue({"number": number})
    writer.join()
    folder.flush()
    assert numbers(tmp_path / "run") == list(range(5000))


def test_a_run_leaves_no_thread_that_keeps_it(tmp_path: Path) -> None:
    before = threading.active_count()
    for number in range(5):
        RunFolder(tmp_path, f"run-{number}").summary({"status": "finished"}, durable=True)
    until_s = time.monotonic() + 15.0
    while threading.active_count() > before and time.monotonic() < until_s:
        time.sleep(0.1)
    assert threading.active_count() <= before


def test_the_name_of_a_start_time_is_a_folder_name() -> None:
    assert json.dumps(start_time_name(0.0)).count("-") == 4
