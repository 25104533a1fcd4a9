from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trainwatt.accounting.epoch_index import EpochLabel
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.timeline import PHASES, Phase, Span, SpanKey, merged, total_of
from trainwatt.sampling.energy_series import EnergySeries


@dataclass
class Source:
    """Two devices whose samples come in as they like."""

    series: dict[str, EnergySeries] = field(default_factory=lambda: {"gpu:1": EnergySeries(), "cpu:1": EnergySeries()})

    def joules_at(self, time_s: float) -> dict[str, float]:
        return {device: series.at(time_s) for device, series in self.series.items()}


class AnyRun(RuleBasedStateMachine):
    """Whatever events, samples and clock steps come, in whatever order, energies add up."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.now_s, self.joules = Source(), 100.0, {"gpu:1": 0.0, "cpu:1": 0.0}
        self.ledger = Ledger(self.source, self.now_s)
        self.parts: list[str] = []
        self.taken: list[tuple[EpochLabel, SpanKey, Span]] = []

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(device=st.sampled_from(["gpu:1", "cpu:1"]), late_s=st.floats(0, 5), joules=st.floats(0, 1e5))
    def sample(self, device: str, late_s: float, joules: float) -> None:
        self.joules[device] += joules
        self.source.series[device].add(self.now_s - late_s, self.joules[device])

    @rule(phase=st.sampled_from(PHASES), steps=st.integers(0, 5), epoch=st.none() | st.integers(-2, 4))
    def begin(self, phase: Phase, steps: int, epoch: int | None) -> None:
        self.ledger.steps += steps
        self.ledger.begin(phase, self.now_s, epoch)

    @rule(phase=st.sampled_from(PHASES))
    def end(self, phase: Phase) -> None:
        self.ledger.end(phase, self.now_s)

    @rule()
    def end_epoch(self) -> None:
        epoch = self.ledger.epoch
        assert self.ledger.end_epoch(self.now_s) == epoch
        assert self.ledger.epoch == epoch + 1

    @rule()
    def begin_loop(self) -> None:
        self.ledger.begin_loop(self.now_s)

    @rule(name=st.sampled_from("abc"))
    def begin_part(self, name: str) -> None:
        self.parts.append(self.ledger.begin_part(name, self.now_s))

    @rule(name=st.sampled_from("abc"))
    def end_part(self, name: str) -> None:
        self.ledger.end_part(name, self.now_s)

    @rule(phase=st.sampled_from(PHASES), ends=st.booleans())
    def another_thread(self, phase: Phase, ends: bool) -> None:
        def enter() -> None:
            self.ledger.begin(phase, self.now_s)
            self.ledger.begin_part("in a thread", self.now_s)
            if ends:
                self.ledger.end(phase, self.now_s)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()

    @rule()
    def take(self) -> None:
        self.taken += self.ledger.take_epochs(self.ledger.settled_epoch)

    @rule(backwards_s=st.floats(0.001, 10))
    def the_clock_steps_back(self, backwards_s: float) -> None:
        self.ledger.begin("other", self.now_s - backwards_s)

    @precondition(lambda self: all(len(series) > 1 for series in self.source.series.values()))
    @rule()
    def book(self) -> None:
        self.ledger.book(min(self.now_s, *(series.settled_s(2) for series in self.source.series.values())))

    @invariant()
    def phases_add_up_to_the_total(self) -> None:
        spans = [*self.ledger.timeline.phases(), *self.ledger.unbooked(self.now_s)]
        total = total_of(merged(spans))
        now_s = max(self.now_s, self.ledger.begin_s)
        assert total.seconds == pytest.approx(now_s - self.ledger.begin_s, abs=1e-6)
        assert total.total_j == pytest.approx(sum(total.joules.values()))
        assert all(joules >= 0 for _, span in spans for joules in span.joules.values())

    @invariant()
    def parts_are_within_their_phase(self) -> None:
        phases = merged([*self.ledger.timeline.phases(), *self.ledger.unbooked(self.now_s)])
        for span in phases.values():
            parts = total_of(span.labels)
            assert parts.seconds <= span.seconds + 1e-6
            assert parts.steps <= span.steps
            assert total_of(span.parts()).total_j == pytest.approx(span.total_j, abs=1e-6)

    @invariant()
    def epochs_that_were_given_out_and_the_rest_add_up(self) -> None:
        given_j = sum(span.total_j for _, _, span in self.taken)
        rest = [span.total_j for key, span in self.ledger.timeline if key.epoch >= self.first_untaken()]
        assert given_j + sum(rest) == pytest.approx(self.ledger.booked_j)
        assert len({(key.epoch, key.phase) for _, key, _ in self.taken}) == len(self.taken)
        assert len({label for label, _, _ in self.taken}) == len({key.epoch for _, key, _ in self.taken})

    def first_untaken(self) -> int:
        return max((key.epoch for _, key, _ in self.taken), default=-1) + 1

    @invariant()
    def what_is_booked_is_never_more_than_was_drawn(self) -> None:
        booked = sum(span.total_j for _, span in self.ledger.timeline)
        drawn = sum(series.at(self.now_s) - series.at(self.ledger.begin_s) for series in self.source.series.values())
        assert booked <= drawn * (1 + 1e-9) + 1e-6

    @invariant()
    def steps_add_up(self) -> None:
        spans = [*self.ledger.timeline.phases(), *self.ledger.unbooked(self.now_s)]
        assert sum(span.steps for _, span in spans) <= self.ledger.steps


TestAnyRun = AnyRun.TestCase
TestAnyRun.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def steady(watts: float, until_s: float) -> Source:
    source = Source({"gpu:1": EnergySeries()})
    for second in range(int(until_s) + 1):
        source.series["gpu:1"].add(second, watts * second)
    return source


def test_the_innermost_phase_is_charged() -> None:
    ledger = Ledger(steady(100, 20), 0.0)
    for phase, time_s in (("train", 1.0), ("validate", 4.0)):
        ledger.begin(phase, time_s)  # type: ignore[arg-type]
    ledger.end("validate", 6.0)
    ledger.end("train", 10.0)
    ledger.close(12.0)
    ledger.book(12.0)
    phases = merged(ledger.timeline.phases())
    assert {phase: span.total_j for phase, span in phases.items()} == pytest.approx(
        {"train": 700, "validate": 200, "other": 300}
    )
    assert {phase: span.entries for phase, span in phases.items()} == {"train": 1, "validate": 1, "other": 1}


def test_a_phase_that_was_never_left_ends_with_the_one_around_it() -> None:
    ledger = Ledger(steady(100, 20), 0.0)
    ledger.begin("train", 0.0)
    ledger.begin("checkpoint", 5.0)
    ledger.end("train", 8.0)
    ledger.end("validate", 9.0)
    ledger.close(10.0)
    ledger.book(10.0)
    assert {p: s.total_j for p, s in merged(ledger.timeline.phases()).items()} == pytest.approx(
        {"train": 500, "checkpoint": 300, "other": 200}
    )


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=10))
def test_epochs_add_up_to_the_run(lengths_s: list[float]) -> None:
    ledger, time_s = Ledger(steady(250, 60), 0.0), 0.0
    for length_s in lengths_s:
        time_s += length_s
        ledger.end_epoch(time_s)
    ledger.book(time_s)
    epochs = [total_of(merged(ledger.timeline.epoch(epoch))).total_j for epoch in range(len(lengths_s))]
    assert epochs == pytest.approx([250 * length_s for length_s in lengths_s])


def test_booking_in_between_changes_no_figure() -> None:
    events = [("train", 1.3), ("validate", 4.7), ("train", 6.1), ("checkpoint", 9.9)]
    totals = []
    for step_s in (0.1, 0.7, 100.0):
        ledger = Ledger(steady(123, 20), 0.0)
        ticks = [("", time_s) for time_s in itertools.takewhile(lambda t: t < 12, itertools.count(step_s, step_s))]
        for phase, time_s in sorted([*events, *ticks], key=lambda event: event[1]):
            if phase:
                ledger.begin(phase, time_s)  # type: ignore[arg-type]
            else:
                ledger.book(time_s)
        ledger.close(12.0)
        ledger.book(12.0)
        totals.append({key.phase: span.total_j for key, span in ledger.timeline})
        assert {key.phase: span.entries for key, span in ledger.timeline} == {
            "other": 1,
            "train": 2,
            "validate": 1,
            "checkpoint": 1,
        }
    assert totals[0] == pytest.approx(totals[1])
    assert totals[0] == pytest.approx(totals[2])


def test_what_is_drawn_after_the_end_is_not_the_runs_own() -> None:
    ledger = Ledger(steady(100, 20), 0.0)
    ledger.begin("train", 1.0)
    ledger.close(5.0)
    ledger.book(9.0)
    assert sum(span.total_j for _, span in ledger.timeline) == pytest.approx(500)
    assert total_of(merged(ledger.unbooked(12.0))).total_j == 0


def test_epochs_of_any_numbers_have_their_own_energy() -> None:
    """Two folds, a restored checkpoint, a number given twice and one that skips."""
    ledger, numbers = Ledger(steady(100, 90), 0.0), [0, 1, 0, 1, 2, 1, 1, 5]
    for place, number in enumerate(numbers):
        ledger.begin("train", 10.0 * place, number)
        ledger.end("train", 10.0 * place + 9)
        ledger.end_epoch(10.0 * place + 10)
    ledger.book(80.0)
    epochs = {label: 0.0 for label, _, _ in ledger.take_epochs(len(numbers))}
    assert list(epochs) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (3, 1), (3, 5)]
    drawn = [total_of(merged(ledger.timeline.epoch(index))).total_j for index in range(len(numbers))]
    assert drawn == pytest.approx([1000.0] * len(numbers))


def test_an_evaluation_in_a_thread_is_charged_while_the_training_ends_and_begins() -> None:
    ledger, pool = Ledger(steady(100, 20), 0.0), ThreadPoolExecutor(1)
    ledger.begin("train", 0.0)
    pool.submit(ledger.begin, "validate", 4.0).result()
    ledger.end("train", 5.0)
    pool.submit(ledger.end, "validate", 6.0).result()
    ledger.begin("train", 7.0)
    ledger.end("train", 10.0)
    ledger.close(10.0)
    ledger.book(10.0)
    phases = {phase: span.total_j for phase, span in merged(ledger.timeline.phases()).items()}
    assert phases == pytest.approx({"train": 700, "validate": 200, "other": 100})


def test_a_thread_that_dies_in_a_phase_is_charged_until_it_is_found_dead() -> None:
    ledger, pool = Ledger(steady(100, 20), 0.0), ThreadPoolExecutor(1)
    ledger.begin("train", 0.0)
    pool.submit(ledger.begin, "validate", 2.0).result()
    ledger.book(4.0)
    pool.shutdown()
    ledger.book(4.5)
    ledger.close(10.0)
    ledger.book(10.0)
    phases = {phase: span.total_j for phase, span in merged(ledger.timeline.phases()).items()}
    assert phases == pytest.approx({"train": 750, "validate": 250, "other": 0})


def test_a_part_is_counted_in_its_phase_and_apart() -> None:
    ledger = Ledger(steady(100, 30), 0.0)
    ledger.begin("train", 0.0)
    for time_s in (1.0, 4.0):
        label = ledger.begin_part("augment", time_s)
        ledger.step(1, time_s + 0.5)
        ledger.end_part(label, time_s + 1)
        ledger.step(1, time_s + 2)
    around = ledger.begin_part("evaluation", 7.0)
    ledger.begin("validate", 8.0)
    ledger.end("validate", 10.0)
    ledger.end_part(around, 11.0)
    ledger.end("train", 12.0)
    ledger.close(12.0)
    ledger.book(12.0)
    phases = merged(ledger.timeline.phases())
    assert {phase: span.total_j for phase, span in phases.items()} == pytest.approx(
        {"train": 1000, "validate": 200, "other": 0}
    )
    parts = {label: (part.total_j, part.entries, part.steps) for label, part in phases["train"].labels.items()}
    assert parts == {"augment": (pytest.approx(200), 2, 2), "evaluation": (pytest.approx(200), 1, 0)}
    assert phases["validate"].labels["evaluation"].total_j == pytest.approx(200)
    assert (phases["train"].entries, phases["train"].steps) == (1, 4)


def test_parts_of_every_step_leave_the_profile_of_steps_as_it_is() -> None:
    profiles = []
    for names in ((), ("load", "forward")):
        ledger = Ledger(steady(100, 60), 0.0)
        ledger.begin("train", 0.0)
        for number in range(1, 500):
            for place, name in enumerate(names):
                label = ledger.begin_part(name, 0.1 * (number - 1 + place / 3))
                ledger.end_part(label, 0.1 * (number - 1 + (place + 1) / 3))
            ledger.step(1, 0.1 * number)
        profiles.append([block[:2] for block in ledger.blocks(50.0)])
    assert profiles[0] == profiles[1]
