from __future__ import annotations

import sys

import pytest

from standins.killed_runs import kills

_FLUSH_S = 1.0
# delay on a busy machine
_BUSY_S = 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="a stand-in driver is loaded by LD_LIBRARY_PATH")
def test_a_kill_at_any_moment_leaves_a_readable_folder_at_most_one_flush_behind() -> None:
    found = kills(10, seed=1)
    behind_s = [kill.behind_s for kill in found if kill.behind_s is not None]
    assert len(behind_s) == 10
    assert min(behind_s) > -0.3
    assert max(behind_s) < _FLUSH_S + _BUSY_S
