from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from trainwatt.records.run_folder import RunFolder, read_events, read_summary


def test_events_can_be_read_back_in_order(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    for number in range(3):
        folder.event({"number": number})
    assert [event["number"] for event in read_events(folder.path)] == [0, 1, 2]


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.event({"number": 0})
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"number": 1, "jou')
    assert [event["number"] for event in read_events(folder.path)] == [0]


def test_the_summary_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.summary({"total_j": 1.0, "padding": "x" * 10_000})
    folder.summary({"total_j": 2.0}, durable=True)
    assert read_summary(folder.path) == {"total_j": 2.0}
    assert sorted(path.name for path in folder.path.iterdir()) == ["summary.json"]


def test_a_second_run_of_the_same_name_gets_its_own_folder(tmp_path: Path) -> None:
    names = [RunFolder(tmp_path / "deep" / "er", "run").path.name for _ in range(3)]
    assert names == ["run", "run-2", "run-3"]


def test_a_disk_that_fills_up_is_told_once_and_then_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.summary({"total_j": 1.0})
    (folder.path / "summary.json.new").mkdir()  # writing there fails from now on
    for _ in range(3):
        folder.summary({"total_j": 2.0})
        folder.event({"number": 1})
    assert len(caplog.records) == 1
    assert json.loads((folder.path / "summary.json").read_text()) == {"total_j": 1.0}


def test_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_summary(tmp_path / "nothing")


def test_figures_of_any_kind_can_be_noted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.event({"tensor": np.float32(0.5), "other": Path("a")})
    assert list(read_events(folder.path)) == [{"tensor": 0.5, "other": "a"}]


def test_what_is_noted_waits_for_the_next_writing_and_keeps_its_place(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.queue({"number": 0})
    assert not (folder.path / "events.jsonl").exists()
    folder.event({"number": 1})
    assert [event["number"] for event in read_events(folder.path)] == [0, 1]


def test_nothing_is_lost_where_one_thread_notes_and_another_writes(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    writer = threading.Thread(target=lambda: [folder.event() for _ in range(200)])
    writer.start()
    for number in range(5000):
        folder.queue({"number": number})
    writer.join()
    folder.event()
    assert [event["number"] for event in read_events(folder.path)] == list(range(5000))
