"""What a process of a job tells the others of itself."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from standins.waves import Square
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.distributed.rank_record import RankRecord
from trainwatt.power.device import Device, Found
from trainwatt.projection.plan import Plan
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


def session_of(
    rank: int, clock: VirtualClock, sampler: Sampler, watts: float, output_dir: Path | None = None
) -> Session:
    device = Device(f"gpu:GPU-{rank}", "gpu", "Board", "measured", "a counter")
    counter = ScriptedCounter(clock, lambda time_s: watts * time_s, device=device)
    settings = Settings.check(output_dir=output_dir, run_name="run", zone="FR")
    group = ProcessGroup(rank=rank, world_size=2, job="job")
    return Session(settings, found=Found((counter,)), sampler=sampler, processes=group, within="run" if rank else None)


@pytest.mark.parametrize("resumed", [False, True])
def test_the_projection_of_a_job_is_the_sum_of_its_phases(resumed: bool) -> None:
    """Rank 0 draws 100 W, the other one 300 W: four epochs of 10 s training and 5 s evaluation each."""
    clock = VirtualClock()
    sampler = Sampler(clock, threaded=False)
    first = session_of(0, clock, sampler, 100.0)
    if resumed:
        first.load_state_dict(earlier_state())
    second = session_of(1, clock, sampler, 300.0)
    first.plan(Plan(epochs=4, steps_per_epoch=50, validate_epochs=1))
    for epoch in range(2):
        for phase, seconds in (("train", 10.0), ("validate", 5.0)):
            for session in (first, second):
                session.begin(phase, epoch=epoch if phase == "train" else None)  # type: ignore[arg-type]
            run_until(sampler, clock, clock.now_s + seconds)
            if phase == "train":
                first.step(50)
            for session in (first, second):
                session.end(phase)  # type: ignore[arg-type]
        first.merge([second.state()])
        report = first.end_epoch()
        assert report is not None
        assert report.projection is not None
        before_j = 700.0 if resumed else 0.0
        whole = report.projection
        assert whole.energy_kwh.central * 3.6e6 == pytest.approx(before_j + 400 * 60.0, rel=1e-3)
        assert sum(whole.phases_j.values()) == pytest.approx(whole.energy_kwh.central * 3.6e6, rel=1e-9)
        assert whole.phases_j["validate"] == pytest.approx(400 * 20.0, rel=1e-3)
        assert report.total.total_j / 3.6e6 <= whole.energy_kwh.low <= whole.energy_kwh.central <= whole.energy_kwh.high
        assert report.metrics()["energy/epoch_kwh"] * 3.6e6 == pytest.approx(400 * 15.0, rel=1e-3)


def test_what_all_processes_of_a_killed_job_had_written_counts_when_it_is_resumed(tmp_path: Path) -> None:
    clock = VirtualClock()
    sampler = Sampler(clock, threaded=False)
    ranks = [session_of(rank, clock, sampler, watts, tmp_path) for rank, watts in ((0, 100.0), (1, 300.0))]
    run_until(sampler, clock, clock.now_s + 10.0)
    ranks[0].merge([ranks[1].state()])
    state = ranks[0].state_dict()
    for session in ranks:
        session.begin("train")
    run_until(sampler, clock, clock.now_s + 10.0)
    ranks[0].step()
    for session in ranks:
        session.flush()
    del session, ranks
    again = session_of(0, VirtualClock(), Sampler(VirtualClock(), threaded=False), 100.0, tmp_path)
    again.load_state_dict(state)
    report = again.finish()
    assert report is not None
    assert report.total.total_j == pytest.approx(400 * 20.0, rel=1e-3)
    assert report.attempts[0].lost_j == pytest.approx(400 * 10.0, rel=1e-3)
    assert sorted(report.total.joules) == ["gpu:GPU-0", "gpu:GPU-1"]


def earlier_state() -> dict[str, Any]:
    clock = VirtualClock()
    sampler = Sampler(clock, threaded=False)
    session = session_of(0, clock, sampler, 100.0)
    session.begin("train")
    run_until(sampler, clock, clock.now_s + 7.0)
    return session.state_dict()


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
