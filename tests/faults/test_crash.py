from __future__ import annotations

import sys

import pytest

from standins.killed_runs import SIGNALS, kills

_FLUSH_S = 1.0
# delay on a busy machine
_BUSY_S = 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="a stand-in driver is loaded by LD_LIBRARY_PATH")
@pytest.mark.slow
def test_a_signal_at_any_moment_on_any_disk_leaves_a_whole_record_at_most_one_flush_behind() -> None:
    found = kills(24, seed=1)
    assert {(kill.tried.number, kill.tried.moment) for kill in found} == {
        (number, moment) for number in SIGNALS for moment in ("training", "end")
    }
    assert [kill for kill in found if not kill.is_held(_FLUSH_S + _BUSY_S)] == []
    assert min(kill.behind_s for kill in found) > -0.6
