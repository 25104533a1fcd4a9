"""Joining what the processes of a job have measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.accounting.timeline import Phase, Span
from trainwatt.distributed.aggregation import aggregate, uncovered
from trainwatt.distributed.rank_record import PhaseHistory, RankRecord, Slice, summed
from trainwatt.power.device import Device

NAMES = ("gpu:GPU-a", "gpu:GPU-b", "ram:one", "ram:two")


def device(name: str) -> Device:
    return Device(id=name, kind="gpu" if name.startswith("gpu") else "ram", name=name, method="measured", source="test")


def measured(
    rank: int, from_s: float, to_s: float, watts: dict[str, float], status: str = "finished", name: str = ""
) -> RankRecord:
    """A process that read devices of constant power; the first half is setup, the second training."""
    course, ticks, middle_s = PhaseHistory(from_s), 150, (from_s + to_s) / 2

    def phases(now_s: float) -> dict[Phase, Span]:
        seconds = {"setup": min(now_s, middle_s) - from_s, "train": max(0.0, now_s - middle_s)}
        return {  # type: ignore[return-value]  # of two phases
            phase: Span(s, {name: w * s for name, w in watts.items()}, 1, int(s) if phase == "train" else 0)
            for phase, s in seconds.items()
        }

    for tick in range(1, ticks):
        course.add(from_s + (to_s - from_s) * tick / ticks, phases(from_s + (to_s - from_s) * tick / ticks))
    return RankRecord(
        id=name or f"{rank} {from_s}",
        rank=rank,
        count=4,
        from_s=from_s,
        to_s=to_s,
        phases=phases(to_s),
        slices=course.slices(to_s, phases(to_s)),
        devices=tuple(map(device, watts)),
        epochs=2,
        status=status,
    )


@st.composite
def records(draw: st.DrawFn) -> list[RankRecord]:
    watts = {name: draw(st.floats(1, 700)) for name in NAMES}
    made = []
    for number in range(draw(st.integers(1, 5))):
        from_s = draw(st.floats(0, 1000))
        seen = draw(st.sets(st.sampled_from(NAMES)))
        record = measured(
            draw(st.integers(0, 3)),
            1e9 + from_s,
            1e9 + from_s + draw(st.floats(1, 1000)),
            {name: watts[name] for name in sorted(seen)},
            draw(st.sampled_from(["finished", "running", "killed", "failed"])),
            f"process {number}",
        )
        made.append(record)
    return made


def union_s(stretches: Sequence[tuple[float, float]]) -> float:
    first, last = min(a for a, _ in stretches), max(b for _, b in stretches)
    return (last - first) * (1 - uncovered(first, last, stretches))


@given(records(), st.randoms(use_true_random=False))
def test_the_order_of_processes_does_not_matter(made: list[RankRecord], order: object) -> None:
    shuffled = list(made)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    assert aggregate(shuffled) == aggregate(made)


@given(records())
def test_joining_again_changes_nothing(made: list[RankRecord]) -> None:
    once = aggregate(made)
    assert aggregate([*once.records, *made]) == once


@given(records())
def test_a_device_counts_over_the_union_of_its_times_never_their_sum(made: list[RankRecord]) -> None:
    job = aggregate(made)
    for each in job.devices:
        readers = [record for record in made if each in record.devices]
        watts = readers[0].phases["setup"].joules[each.id] / readers[0].phases["setup"].seconds
        found_j = sum(span.joules.get(each.id, 0.0) for span in job.phases.values())
        truth_j = watts * union_s([(record.from_s, record.to_s) for record in readers])
        assert found_j == pytest.approx(truth_j, rel=1e-6)
    assert len({each.id for each in job.devices}) == len(job.devices)


@given(records())
def test_the_total_is_the_sum_of_devices_and_of_phases(made: list[RankRecord]) -> None:
    job = aggregate(made)
    by_device = {name: sum(span.joules.get(name, 0.0) for span in job.phases.values()) for name in NAMES}
    assert job.total_j == pytest.approx(sum(by_device.values()))
    assert job.total_j == pytest.approx(sum(sum(span.joules.values()) for span in job.phases.values()))


@given(records())
def test_a_shard_travels_as_json(made: list[RankRecord]) -> None:
    sent = [RankRecord.from_dict(json.loads(json.dumps(record.to_dict()))) for record in made]
    there, here = aggregate(sent), aggregate(made)
    assert there.total_j == pytest.approx(here.total_j)
    assert there.devices == here.devices
    assert [record.status for record in there.records] == [record.status for record in here.records]


def test_of_a_process_that_tells_twice_the_latest_counts() -> None:
    early = measured(0, 100.0, 110.0, {"gpu:GPU-a": 100.0}, "running", "one")
    late = measured(0, 100.0, 130.0, {"gpu:GPU-a": 100.0}, "finished", "one")
    assert aggregate([late, early]).total_j == pytest.approx(3000.0)
    assert aggregate([late, early]).status == "finished"


def test_time_and_steps_are_those_of_the_first_process_not_a_sum() -> None:
    job = aggregate([measured(rank, 100.0 + rank / 100, 120.0, {f"gpu:GPU-{rank}": 50.0}) for rank in range(4)])
    assert job.phases["train"].steps == 10
    assert sum(span.seconds for span in job.phases.values()) == pytest.approx(20.0)
    assert job.epochs == 2
    assert job.total_j == pytest.approx(4 * 20 * 50, rel=0.01)


def test_where_the_first_process_died_the_others_go_on() -> None:
    died = measured(0, 100.0, 105.0, {"gpu:GPU-a": 100.0, "ram:one": 10.0}, "killed")
    lived = measured(1, 100.0, 120.0, {"gpu:GPU-b": 100.0, "ram:one": 10.0})
    job = aggregate([died, lived])
    assert job.status == "killed"
    assert sum(span.seconds for span in job.phases.values()) == pytest.approx(20.0)
    assert job.total_j == pytest.approx(5 * 100 + 20 * 100 + 20 * 10)


def lost(record: RankRecord, name: str, at_s: float) -> RankRecord:
    """Return a record whose device was lost at some time."""
    slices = [
        part
        if part.to_s <= at_s
        else Slice(part.from_s, part.to_s, {p: without(s, name) for p, s in part.phases.items()})
        for part in record.slices
    ]
    phases = summed(part.phases for part in slices)
    return replace(record, slices=slices, phases=phases, gaps_s={name: record.to_s - at_s})


def without(span: Span, name: str) -> Span:
    return replace(span, joules={device: value for device, value in span.joules.items() if device != name})


@pytest.mark.parametrize("loser", [0, 1])
def test_of_a_device_that_one_process_has_lost_the_reading_of_another_counts(loser: int) -> None:
    whole = [measured(rank, 100.0, 200.0, {"gpu:GPU-a": 200.0}) for rank in range(2)]
    whole[loser] = lost(whole[loser], "gpu:GPU-a", 109.5)
    assert sum(span.total_j for span in whole[loser].phases.values()) < 1900
    job = aggregate(whole)
    assert job.total_j == pytest.approx(20_000)
    assert job.gaps_s == {}


def test_what_two_processes_have_lost_at_different_times_is_pieced_together() -> None:
    """One loses the device at the middle; the other begins a little before that, and misses none of it."""
    first = lost(measured(0, 100.0, 200.0, {"gpu:GPU-a": 200.0}), "gpu:GPU-a", 150.0)
    second = lost(measured(1, 140.0, 200.0, {"gpu:GPU-a": 200.0}), "gpu:GPU-a", 190.0)
    job = aggregate([first, second])
    assert job.total_j == pytest.approx(90 * 200, rel=0.01)
    assert job.gaps_s == {"gpu:GPU-a": 10.0}


def test_a_job_that_was_started_anew_counts_both_times() -> None:
    before = [measured(rank, 100.0, 110.0, {"ram:one": 10.0}, "killed") for rank in range(2)]
    after = [measured(rank, 130.0, 150.0, {"ram:one": 10.0}) for rank in range(2)]
    job = aggregate([*after, *before])
    assert job.total_j == pytest.approx(300.0)
    assert sum(span.seconds for span in job.phases.values()) == pytest.approx(30.0)
    assert job.phases["train"].steps == 5 + 10


def test_the_course_of_a_long_run_stays_small() -> None:
    course, spent = PhaseHistory(0.0), Span()
    for second in range(1, 100_000):
        spent = Span(float(second), {"ram:one": 5.0 * second}, 1, second)
        course.add(float(second), {"train": spent})
    slices = course.slices(100_000.0, {"train": Span(1e5, {"ram:one": 5e5}, 1, 100_000)})
    assert len(slices) <= 66
    assert sum(part.phases["train"].total_j for part in slices) == pytest.approx(5e5)
    assert [part.from_s for part in slices[1:]] == [part.to_s for part in slices[:-1]]


def with_part(record: RankRecord, label: str, share: float) -> RankRecord:
    """The same process, with a part of its training named."""

    def named(phases: Mapping[Phase, Span]) -> dict[Phase, Span]:
        copies = {phase: replace(span) for phase, span in phases.items()}
        if "train" in copies:
            train = copies["train"]
            joules = {device: share * joules for device, joules in train.joules.items()}
            copies["train"] = replace(train, labels={label: Span(share * train.seconds, joules, 1, 2)})
        return copies

    slices = tuple(Slice(each.from_s, each.to_s, named(each.phases)) for each in record.slices)
    return replace(record, phases=named(record.phases), slices=slices)


def test_parts_of_all_ranks_add_up_and_a_shared_device_counts_once() -> None:
    first = with_part(measured(0, 0, 100, {"gpu:GPU-a": 100, "ram:one": 10}), "augment", 0.25)
    second = with_part(measured(1, 0, 100, {"gpu:GPU-b": 300, "ram:one": 10}), "augment", 0.5)
    sent = RankRecord.from_dict(json.loads(json.dumps(second.to_dict())))
    assert sent == second
    train = aggregate([first, sent]).phases["train"]
    part = train.labels["augment"]
    assert train.joules == pytest.approx({"gpu:GPU-a": 5000, "gpu:GPU-b": 15_000, "ram:one": 500})
    assert part.joules == pytest.approx({"gpu:GPU-a": 1250, "gpu:GPU-b": 7500, "ram:one": 125})
    assert (part.seconds, part.entries) == (12.5, 1)


def test_parts_of_a_rank_that_fills_a_gap_count_as_their_phase_does() -> None:
    first = with_part(measured(0, 0, 50, {"gpu:GPU-a": 100}), "augment", 0.5)
    second = with_part(measured(1, 0, 100, {"gpu:GPU-a": 100}), "augment", 0.5)
    train = aggregate([first, second]).phases["train"]
    assert train.labels["augment"].total_j == pytest.approx(train.total_j / 2)
