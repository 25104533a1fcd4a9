from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trainwatt.files.background import Background, within


class Work:
    """Work that can be held up."""

    def __init__(self) -> None:
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.left = False

    def __call__(self) -> bool:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.may_go_on.wait()
        self.calls += 1
        self.at_once -= 1
        return self.left


def test_whoever_waits_sees_the_work_done() -> None:
    work = Work()
    background = Background(work, "test")
    for number in range(1, 50):
        assert background.wait(5.0)
        assert work.calls == number


def test_a_call_that_hangs_is_waited_for_no_longer_than_asked() -> None:
    work = Work()
    background = Background(work, "test")
    work.may_go_on.clear()
    began_s = time.monotonic()
    background.wake()
    assert not background.wait(0.2)
    assert time.monotonic() - began_s < 2.0
    for _ in range(10_000):
        background.wake()
    assert work.calls == 0
    work.may_go_on.set()
    assert background.wait(5.0)
    # Ten thousand requests are one.
    assert work.calls <= 3


def test_of_a_long_hang_no_more_than_the_rest_is_waited_for() -> None:
    work = Work()
    background = Background(work, "test")
    work.may_go_on.clear()
    background.wake()
    time.sleep(1.0)
    began_s = time.monotonic()
    assert not background.wait(1.2)
    assert time.monotonic() - began_s < 1.0
    work.may_go_on.set()


def test_many_threads_never_have_it_called_twice_at_the_same_time() -> None:
    work = Work()
    background = Background(work, "test")
    threads = [threading.Thread(target=lambda: [background.wait(5.0) for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert work.most_at_once == 1


@pytest.mark.slow
def test_what_is_left_is_tried_again_and_an_idle_thread_ends() -> None:
    work = Work()
    work.left = True
    background = Background(work, "trainwatt-test-idle")
    assert background.wait(5.0)
    assert background.is_at_work
    time.sleep(2.5)
    assert work.calls >= 2
    work.left = False
    time.sleep(8.0)
    assert not background.is_at_work
    assert "trainwatt-test-idle" not in {thread.name for thread in threading.enumerate()}
    before = work.calls
    assert background.wait(5.0)
    assert work.calls == before + 1


def test_a_forked_child_neither_works_nor_waits() -> None:
    work = Work()
    background = Background(work, "test")
    work.may_go_on.clear()
    background.wake()
    child = os.fork()
    if child == 0:
        began_s = time.monotonic()
        background.wake()
        waited = background.wait(5.0)
        os._exit(int(waited or time.monotonic() - began_s > 1.0 or background.is_at_work))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    work.may_go_on.set()


def test_the_end_of_a_process_waits_for_what_is_asked_for(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from trainwatt.files.background import Background
def work():
    time.sleep(0.5)
    Path(sys.argv[1]).touch()
    return False
Background(work, "test").wake()
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "done")], check=True, timeout=30)
    assert (tmp_path / "done").exists()


def test_a_call_on_a_disk_is_waited_for_within_a_limit() -> None:
    assert within(5.0, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 // 0)
    forever = threading.Event()
    with pytest.raises(TimeoutError, match="the disk did not answer within 0 s"):
        within(0.1, forever.wait)
    forever.set()
