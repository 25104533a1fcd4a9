from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.waves import Square
from trainwatt.files.background import settle
from trainwatt.power.device import Device, Found, Missing
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events, read_summary
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.reporting.run_sinks import run_sinks
from trainwatt.sampling.sampler import Sampler
from trainwatt.testing import ScriptedCounter, ScriptedGauge, VirtualClock, run_until
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

GPU = Device("gpu:GPU-1", "gpu", "Board", "measured", "a counter", 0.95, 1.05)
CPU = Device("cpu:1", "cpu", "Chip", "estimated", "a model", 0.5, 1.5)


class Run:
    """A session on two devices of known energy, in virtual time."""

    def __init__(self, output_dir: Path | None = None, found: Found | None = None, **options: Any) -> None:
        self.clock = VirtualClock(1000.2)
        self.sampler = Sampler(self.clock, threaded=False)
        self.gpu_j, self.cpu_j = Square(60, 300, 1.0).energy_j, lambda time_s: 20 * time_s
        meters = (
            ScriptedCounter(self.clock, self.gpu_j, refresh_s=0.1, phase_s=0.04, device=GPU, sensor_w=None),
            ScriptedCounter(self.clock, self.cpu_j, device=CPU),
        )
        settings = Settings.check(output_dir=output_dir, run_name="run", zone="FR", **options)
        self.said: list[str] = []
        sinks = run_sinks(settings, self.said.append)
        self.session = Session(settings, found=found or Found(meters), sampler=self.sampler, sinks=sinks)
        self.began_s = self.clock.now_s

    def wait(self, seconds: float) -> None:
        run_until(self.sampler, self.clock, self.clock.now_s + seconds, late_s=2e-4)
        # Virtual time leaves the disk none.
        settle(5.0)

    def truth_j(self, begin_s: float, end_s: float) -> float:
        return self.gpu_j(end_s) - self.gpu_j(begin_s) + self.cpu_j(end_s) - self.cpu_j(begin_s)


def test_each_phase_gets_its_own_energy(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.wait(2.0)
    for epoch in range(3):
        run.session.begin("train", epoch=epoch)
        run.wait(5.3)
        run.session.step(100)
        run.session.begin("validate")
        run.wait(1.7)
        run.session.end("validate")
        run.session.end("train")
        report = run.session.end_epoch()
        assert report is not None
        assert report.metrics()["energy/step_j"] == pytest.approx((180 + 20) * 5.3 / 100, rel=0.05)
        assert report.metrics()["energy/validate_kwh"] == pytest.approx((180 + 20) * 1.7 / 3.6e6, rel=0.15)
    run.wait(0.5)
    report = run.session.finish()
    assert report is not None
    assert report.total.total_j == pytest.approx(run.truth_j(run.began_s, run.clock.now_s), rel=0.005)
    assert report.phases["train"].steps == 300
    assert {phase: span.entries for phase, span in report.phases.items()} == {"train": 3, "validate": 3, "other": 1}
    assert report.measured_share == pytest.approx(180 / 200, rel=0.01)
    assert read_summary(tmp_path / "run") == run.session.summary()


def test_a_machine_that_sleeps_takes_nothing_and_the_time_of_day_is_right_after_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.wait(10.0)
    run.clock.suspend(3600.0)
    run.wait(10.0)
    report = run.session.finish()
    assert report is not None
    summary = report.summary()
    assert summary["suspended_s"] == 3600.0
    assert summary["seconds"] == pytest.approx(20.0)
    assert report.now_s == pytest.approx(run.clock.wall())
    assert report.total.total_j == pytest.approx(run.truth_j(run.began_s, run.clock.now_s), rel=0.01)


def test_a_clock_that_is_set_back_does_not_stop_the_record(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.wait(3.0)
    run.clock.wall_offset_s -= 7200.0
    run.wait(10.0)
    assert read_summary(tmp_path / "run")["seconds"] > 11.5


def test_epochs_are_recorded_as_they_were_drawn(tmp_path: Path) -> None:
    run, truth = Run(tmp_path), []
    run.wait(1.0)
    run.session.end_epoch()
    for _ in range(8):
        begin_s = run.clock.now_s
        run.session.begin("train")
        run.wait(3.37)
        run.session.end("train")
        run.session.end_epoch()
        truth.append(run.truth_j(begin_s, run.clock.now_s))
    run.wait(0.4)
    run.session.finish()
    events = [event for event in read_events(tmp_path / "run") if event["event"] == "span"]
    drawn = [sum(event["joules"].values()) for event in events if event["phase"] == "train"]
    assert drawn == pytest.approx(truth, rel=0.005)


def train(run: Run, epoch: int, steps: int = 20, step_s: float = 0.5) -> RunSnapshot:
    run.session.begin("train", epoch=epoch)
    for _ in range(steps):
        run.wait(step_s)
        run.session.step()
    run.session.end("train")
    report = run.session.end_epoch()
    assert report is not None
    return report


def test_the_whole_run_is_projected_after_its_first_epoch(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.session.plan(Plan(epochs=6))
    projected = [train(run, epoch).projection for epoch in range(6)]
    run.session.finish()
    kwh = run.truth_j(run.began_s, run.clock.now_s) / 3.6e6
    for projection in projected:
        assert projection is not None
        assert projection.energy_kwh.central == pytest.approx(kwh, rel=0.02)
        assert projection.energy_kwh.low <= kwh * 1.001
        assert projection.energy_kwh.high >= kwh * 0.999
    assert len(run.said) == 1
    assert run.said[0].startswith("trainwatt: epoch 1 of 6; whole run about 3.3")
    events = [event for event in read_events(tmp_path / "run") if event["event"] == "projection"]
    assert [event["remaining_s"] for event in events] == pytest.approx([50, 40, 30, 20, 10, 0])
    assert read_summary(tmp_path / "run")["projection"]["remaining_s"] == 0


def test_a_projection_is_said_again_where_it_has_left_its_interval() -> None:
    run = Run()
    run.session.plan(Plan(epochs=8))
    for epoch, step_s in enumerate([0.5, 0.5, 2.0, 2.0, 2.0]):
        train(run, epoch, step_s=step_s)
    assert 1 < len(run.said) < 5
    assert "; whole run now about " in run.said[1]


def test_a_run_of_one_epoch_is_projected_after_fifty_steps_or_one_in_a_hundred() -> None:
    for total, expected in ((400, 50), (20_000, 200)):
        run = Run()
        run.session.plan(Plan(epochs=1, steps=total, steps_per_epoch=total))
        run.session.begin("train", epoch=0)
        for _ in range(expected - 1):
            run.wait(0.1)
            run.session.step()
        assert run.said == []
        run.session.step()
        assert run.said[0].startswith(f"trainwatt: step {expected} of {total}; whole run about ")


def test_what_is_quiet_says_nothing_and_projects_nonetheless() -> None:
    run = Run(verbose=False)
    run.session.plan(Plan(epochs=3))
    assert "projection/total_kwh" in train(run, 0).metrics()
    assert run.said == []


def test_without_a_plan_nothing_is_projected() -> None:
    run = Run()
    report = train(run, 0)
    assert report.projection is None
    assert not [name for name in report.metrics() if name.startswith("projection/")]
    assert report.summary()["projection"] is None


def test_the_record_is_never_older_than_a_second(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.session.begin("train")
    run.wait(60.0)
    summary = read_summary(tmp_path / "run")
    assert summary["status"] == "running"
    assert summary["seconds"] == pytest.approx(60.0, abs=1.2)
    assert summary["total_j"] == pytest.approx(run.truth_j(run.began_s, run.clock.now_s), rel=0.03)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["train", "validate", "checkpoint"]), st.floats(0, 8)), max_size=12))
def test_phases_and_devices_add_up_to_the_truth_whatever_happens(events: list[tuple[str, float]]) -> None:
    run = Run()
    run.wait(0.8)
    for phase, seconds in events:
        run.session.begin(phase)  # type: ignore[arg-type]
        run.wait(seconds)
        if seconds > 4:
            run.session.end(phase)  # type: ignore[arg-type]
        if seconds > 6:
            run.session.end_epoch()
    run.wait(0.4)
    report = run.session.finish()
    assert report is not None
    total = report.total
    assert sum(span.total_j for span in report.phases.values()) == pytest.approx(total.total_j, rel=1e-9)
    assert sum(total.joules.values()) == pytest.approx(total.total_j, rel=1e-9)
    assert total.total_j == pytest.approx(run.truth_j(run.began_s, run.clock.now_s), rel=0.01, abs=30)
    low, central, high = report.energy_kwh.low, report.energy_kwh.central, report.energy_kwh.high
    assert low < central < high


def test_a_run_finishes_once() -> None:
    run = Run()
    run.wait(1.0)
    first = run.session.finish()
    run.wait(5.0)
    assert run.session.finish("failed") is first
    assert run.session.snapshot() is first
    assert not run.sampler.running


class Broken:
    """A meter with a bug of its own."""

    device = CPU
    wraps_at_j = None
    max_gap_s = refresh_s = 0.0

    def joules(self) -> float:
        raise ZeroDivisionError

    def watts(self) -> float | None:
        return None


def test_a_bug_of_ours_stops_the_measuring_and_not_the_training(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(found=Found((Broken(),)))
    run.sampler.tick()
    run.session.begin("no such phase", epoch="x")  # type: ignore[arg-type]
    run.session._ledger = None  # type: ignore[assignment]  # the worst that can happen
    run.session.begin("train")
    last = run.session.end_epoch()
    assert last is not None
    assert last.status == "failed"
    assert run.session.finish() is last
    assert not run.session.running
    assert len([record for record in caplog.records if "training goes on" in record.message]) >= 1


def test_a_missing_permission_is_told_once_with_its_remedy(caplog: pytest.LogCaptureFixture) -> None:
    missing = Missing("cpu", "RAPL", "Its files belong to root.", "sudo chmod o+r energy_uj", warn=True)
    Run(found=Found((), (missing, Missing("gpu", "NVML", "There is no NVIDIA driver."))))
    assert [record.message for record in caplog.records] == [
        "trainwatt: RAPL cannot be read: Its files belong to root. sudo chmod o+r energy_uj"
    ]


def test_a_machine_on_which_nothing_can_be_read_still_yields_a_record(tmp_path: Path) -> None:
    run = Run(tmp_path, found=Found())
    run.session.begin("train")
    run.clock.now_s += 5
    report = run.session.finish()
    assert report is not None
    assert report.measured_share is None
    assert "energy/measured_share" not in report.metrics()
    assert read_summary(tmp_path / "run")["seconds"] == pytest.approx(5.0)


def test_a_gauge_is_as_good_as_a_counter_over_a_minute() -> None:
    run = Run()
    gauge = ScriptedGauge(run.clock, run.gpu_j, device=GPU)
    session = Session(Settings.check(output_dir=None, zone="FR"), found=Found((gauge,)), sampler=run.sampler)
    begin_s = run.clock.now_s
    run.wait(60.0)
    report = session.finish()
    assert report is not None
    assert report.total.total_j == pytest.approx(run.gpu_j(run.clock.now_s) - run.gpu_j(begin_s), rel=0.02)


def test_a_program_that_ends_without_telling_leaves_its_totals(tmp_path: Path) -> None:
    code = (
        "import sys, time; from trainwatt.tracking.session import Session; "
        "from trainwatt.tracking.settings import Settings; "
        "s = Session(Settings.check(output_dir=sys.argv[1], run_name='run')); s.begin('train'); time.sleep(0.2)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    summary = read_summary(tmp_path / "run")
    assert summary["status"] == "interrupted"
    assert summary["phases"]["train"]["seconds"] > 0.15
