"""Files that are damaged, huge, or none: none blocks, and memory stays bounded."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from trainwatt.schema.event_log import EventLog, read_event_log
from trainwatt.schema.json_file import (
    MOST_LINE_BYTES,
    EncodingError,
    NotJsonError,
    lines,
    open_regular,
    parse,
    read_head,
    read_text,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files on Windows")


def within(seconds: float, call: Any) -> str:
    """Call a function that must fail within a time; return what it says."""
    said: list[str] = []

    def run() -> None:
        try:
            call()
        except (OSError, ValueError) as error:
            said.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it blocks"
    assert len(said) == 1, "it did not fail"
    return said[0]


@posix
def test_what_is_no_file_is_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "to pipe").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket" if sys.platform == "linux" else str(tmp_path / "socket"))
        os.close(here)
        expected = {"pipe": "a named pipe", "to pipe": "a named pipe", "socket": "a socket", "loop": "symbolic links"}
        for name, told in expected.items():
            for read in (read_text, lambda path: list(lines(path)), lambda path: read_head(path, 10)):
                assert told in within(5, lambda read=read, name=name: read(tmp_path / name))
    assert "a folder, not a file" in within(5, lambda: read_text(tmp_path))
    assert "a device, not a file" in within(5, lambda: read_text("/dev/zero"))
    assert "null" in within(5, lambda: open_regular("a\0b"))


@pytest.mark.parametrize("depth", [111, 20_000])
def test_deep_brackets_are_no_json_of_ours(depth: int) -> None:
    for text in ("[" * depth, "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(NotJsonError):
            parse(text)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "\0" * 100, "NUL", "9" * 5000, '{"a" 1}', "nul"])
def test_what_is_no_json_is_told(text: str) -> None:
    with pytest.raises(NotJsonError):
        parse(text)


def test_numbers_that_json_lacks_are_null_and_of_two_fields_the_later_counts() -> None:
    assert parse('{"a": NaN, "b": -Infinity, "c": 1, "c": 2}') == {"a": None, "b": None, "c": 2}
    assert parse(r'"\ud83d\ude00\ud800"').encode("utf-8") == "\U0001f600?".encode()


def test_a_byte_order_mark_is_none_of_the_text_and_other_encodings_are_told(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"\xef\xbb\xbf{}")
    assert read_text(file) == "{}"
    assert read_text(file, marked=True) == "\ufeff{}"
    for encoding in ("utf-16", "utf-32"):
        file.write_bytes("{}é".encode(encoding))
        with pytest.raises(EncodingError, match=r"a\.json: not in UTF-8"):
            read_text(file)
    with pytest.raises(ValueError, match=r"a\.json: larger than"):
        read_text(file, most_bytes=3)


def test_lines_that_are_damaged_too_long_or_cut_are_told_from_whole_ones(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"a\n\xff\n" + b"x" * (2 * MOST_LINE_BYTES + 5) + b"\nb\ncut")
    assert list(lines(file)) == ["a\n", None, None, "b\n"]


def span(epoch: int, joules: float = 1.0) -> dict[str, Any]:
    figures = {"seconds": 2.0, "entries": 1, "steps": 3, "joules": {"gpu:0": joules}}
    return {"event": "span", "epoch": epoch, "index": epoch, "loop": 0, "phase": "train", **figures}


def score(name: str, value: float) -> dict[str, Any]:
    return {"event": "score", "name": name, "value": value, "total_j": 1.0}


def test_of_many_events_the_sums_stay_and_every_metric_is_there() -> None:
    log, count = EventLog(), 60_000
    for number in range(count):
        log.add(span(number), 300)
        log.add(score(("loss", "accuracy")[number % 2], number), 150)
        stretch = {"joules": 1.0, "seconds": {"train": 2.0}}
        log.add({"event": "power", "stretches": [dict(stretch), dict(stretch)]}, 300)
    assert log.events_per_entry > 1
    assert len(log.all) < count
    spans = log.of_kind("span")
    assert sum(each["joules"]["gpu:0"] for each in spans) == pytest.approx(count)
    assert sum(each["steps"] for each in spans) == 3 * count
    powers = [stretch for each in log.of_kind("power") for stretch in each["stretches"]]
    assert sum(each["joules"] for each in powers) == pytest.approx(2 * count)
    assert sum(each["seconds"]["train"] for each in powers) == pytest.approx(4 * count)
    assert {each["name"] for each in log.of_kind("score")} == {"loss", "accuracy"}


@pytest.mark.slow
def test_eighty_megabytes_of_events_take_little_memory(tmp_path: Path) -> None:
    """Of each kind: like ones, ones of names of their own, and one line of all of it."""
    file = tmp_path / "events.jsonl"
    with file.open("w", encoding="utf-8") as events:
        events.write(json.dumps({"event": "start", "run": "r", "began_unix_s": 1.7e9}) + "\n")
        for number in range(150_000):
            events.write(json.dumps(span(number)) + "\n")
            events.write(json.dumps(score(f"metric-{number}", number)) + "\n")
        events.write("x" * 40_000_000 + "\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    log = read_event_log(file)
    taken_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken_mb < 250
    assert log.damaged == 1
    assert log.start["run"] == "r"
    assert sum(each["joules"]["gpu:0"] for each in log.of_kind("span")) == pytest.approx(150_000)
