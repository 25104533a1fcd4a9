"""A run whose record has no end: still there, gone, or elsewhere, whatever the wall clock does."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from trainwatt.distributed.liveness import is_gone, last_seen, pid_space
from trainwatt.power.host.boot_id import boot_id, host_id


def summary(*, silent_s: float = 0.0, host: str | None = None, **written: Any) -> dict[str, Any]:
    """A summary that was written some time ago by the wall clock, and just now by the monotonic one."""
    updated = (datetime.now(timezone.utc) - timedelta(seconds=silent_s)).isoformat()
    here = {"boot": boot_id(), "pid_space": pid_space(), "host": platform.node(), "monotonic_s": time.monotonic()}
    return {"status": "running", "updated": updated, "host": host, "written": {**here, **written}}


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("jump_s", [-86_400.0, -180.0, 0.0, 180.0, 86_400.0])
def test_a_jump_of_the_wall_clock_kills_no_run(jump_s: float) -> None:
    state = summary(silent_s=jump_s, pid=os.getpid())
    assert not is_gone(state, {})
    assert last_seen(state, {}) == ""


def test_a_process_that_ended_is_gone_at_once(other: subprocess.Popen[bytes]) -> None:
    state = summary(pid=other.pid)
    assert not is_gone(state, {})
    other.kill()
    other.wait()
    assert is_gone(state, {})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the beginning of a process is told by procfs")
def test_an_id_that_is_used_again_is_another_process(other: subprocess.Popen[bytes]) -> None:
    assert is_gone(summary(pid=other.pid, monotonic_s=time.monotonic() - 100), {})


def test_a_process_of_another_container_is_gone_by_the_monotonic_clock() -> None:
    elsewhere = {"pid": os.getpid(), "pid_space": f"{boot_id()}/pid:[1]"}
    assert not is_gone(summary(silent_s=500, **elsewhere), {})
    assert is_gone(summary(monotonic_s=time.monotonic() - 200, **elsewhere), {})


def test_after_a_boot_nothing_is_running_that_was_before() -> None:
    assert is_gone(summary(boot="earlier", pid_space="earlier/", host=host_id()), {})


@pytest.mark.parametrize("silent_s", [0.0, 200.0, 1e6, -200.0])
def test_of_another_host_nobody_knows_and_it_is_told_when_it_was_seen(silent_s: float) -> None:
    state = summary(silent_s=silent_s, boot="another", pid_space="another/") | {"host": "another"}
    state["written"]["host"] = "another"
    assert not is_gone(state, {})
    assert bool(last_seen(state, {})) == (abs(silent_s) > 30)


@pytest.mark.parametrize(("silent_s", "gone"), [(5.0, False), (60.0, True)])
def test_of_another_host_the_clock_of_the_file_server_tells(silent_s: float, *, gone: bool) -> None:
    state = summary(silent_s=-500, boot="another", pid_space="another/") | {"host": "another"}
    state["written"]["host"] = "another"
    assert is_gone(state, {}, silent_s=silent_s) == gone


@pytest.mark.parametrize(("silent_s", "gone"), [(5.0, False), (100.0, False), (500.0, True)])
def test_a_record_of_an_earlier_version_has_the_wall_clock_only(silent_s: float, *, gone: bool) -> None:
    state = summary(silent_s=silent_s)
    del state["written"]
    assert is_gone(state, {"pid": os.getpid(), "pid_space": pid_space()}) == gone
