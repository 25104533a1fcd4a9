"""What a process of a job tells the others of itself."""

from __future__ import annotations

from itertools import pairwise

import pytest

from standins.waves import Square
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.distributed.rank_record import RankRecord
from trainwatt.power.device import Found
from trainwatt.sampling.sampler import Sampler, Subscription
from trainwatt.testing import ScriptedCounter, VirtualClock, run_until
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

REFRESH_S = 0.1
WAVE = Square(180, 220, 0.4)


class WaitingSampler(Sampler):
    """Virtual time goes on while the end of a run waits for its last figures."""

    def wait_until_settled(self, subscription: Subscription, time_s: float, timeout_s: float) -> None:
        assert isinstance(self.clock, VirtualClock)
        while subscription.settled_s() < time_s and self.clock.now_s < time_s + timeout_s:
            run_until(self, self.clock, self.clock.now_s + 0.02)


@pytest.mark.parametrize("seconds", [2.0 + tenth / 10 for tenth in range(13)])
def test_the_course_that_it_tells_ends_where_its_run_does(seconds: float) -> None:
    """However long the last figures are waited for, and whatever is written meanwhile."""
    clock = VirtualClock()
    sampler = WaitingSampler(clock, threaded=False)
    counter = ScriptedCounter(clock, WAVE.energy_j, refresh_s=REFRESH_S, phase_s=0.03)
    settings = Settings.check(output_dir=None, zone="FR")
    session = Session(settings, found=Found((counter,)), sampler=sampler, processes=ProcessGroup(rank=1, world_size=2))
    began_s, began_unix_s = clock.now_s, clock.wall()
    run_until(sampler, clock, began_s + seconds)
    session.finish()
    assert clock.now_s > began_s + seconds + REFRESH_S
    told = RankRecord.from_dict(session.state() or {})
    assert told.to_s - began_unix_s == pytest.approx(seconds, abs=1e-6)
    edges_s = [told.from_s, *(part.to_s for part in told.slices)]
    assert edges_s[-1] == told.to_s
    for part, (from_s, to_s) in zip(told.slices, pairwise(edges_s), strict=True):
        truth_j = WAVE.energy_j(to_s - clock.wall_offset_s) - WAVE.energy_j(from_s - clock.wall_offset_s)
        drawn_j = sum(span.total_j for span in part.phases.values())
        assert (part.from_s, drawn_j) == (from_s, pytest.approx(truth_j, abs=220 * REFRESH_S / 2))
